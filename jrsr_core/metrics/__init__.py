"""Metrics of magnitude images, and distances in the features of pre-trained networks."""
