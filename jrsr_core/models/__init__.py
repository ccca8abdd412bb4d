"""The systems of the paper behind two interfaces: `ReconModel` and `UpsampleModel`."""
