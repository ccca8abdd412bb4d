"""ISMRMRD files: reads scans and images, also from untrusted sources; writes both."""
