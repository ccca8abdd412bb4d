"""Simulated ISMRMRD scans, written as a scanner would."""
