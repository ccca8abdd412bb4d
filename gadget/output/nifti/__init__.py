"""Writes NIfTI files."""
