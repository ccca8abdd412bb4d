"""ISMRMRD in and out: the only part of the core that knows the format."""
