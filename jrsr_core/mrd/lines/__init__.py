"""Acquired lines: their flags, their places in k-space, and how they reach the grid."""
