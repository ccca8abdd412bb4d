"""From raw k-space or images to weights; imports `jrsr_core`, never `gadget`."""
