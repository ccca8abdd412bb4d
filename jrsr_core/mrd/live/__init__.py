"""Scans that are going on: when an image is complete, and its assembly as soon as it is."""
