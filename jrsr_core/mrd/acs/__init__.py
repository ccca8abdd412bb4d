"""Auto-calibration signal (ACS) of every slice: its lines, its place, its k-space."""
