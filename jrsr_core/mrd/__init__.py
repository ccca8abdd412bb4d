"""ISMRMRD: scans in, images out. Planning a scan needs numpy only, assembling k-space torch."""
