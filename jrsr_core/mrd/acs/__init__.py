"""Auto-calibration signal (ACS) of every slice: its lines and its place."""
