"""The engines that reconstruct slices: in this process, or on a Ray cluster."""
