"""Auto-calibration lines: selection, reading, and separate reference scans."""
