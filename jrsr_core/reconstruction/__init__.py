"""From a k-space slice or volume to an image with its report."""
