"""Finished images in the formats of other programs."""
