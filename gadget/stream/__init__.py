"""Scans as streams: ISMRMRD v1 and MRD v2 on pipes."""
