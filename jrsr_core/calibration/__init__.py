"""Estimates from the scan itself: noise level, coil compression, coil maps, intensity scale."""
