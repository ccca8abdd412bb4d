"""The ISMRMRD header of a scan, parsed and checked."""
