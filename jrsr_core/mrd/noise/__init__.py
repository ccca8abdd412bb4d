"""Noise measured by noise lines, and the whitening that follows from it."""
