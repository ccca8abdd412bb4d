"""The random variety of training scans: objects, ranges, masks."""
