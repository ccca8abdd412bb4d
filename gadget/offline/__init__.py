"""Reconstruction, conversion and demonstration from files."""
