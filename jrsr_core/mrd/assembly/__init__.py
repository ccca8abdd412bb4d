"""Lines -> k-space of slices and volumes."""
