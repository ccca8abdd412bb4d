"""ISMRMRD files: scans in, images out."""
