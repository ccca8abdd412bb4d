"""The systems of the paper behind three interfaces: `ReconModel`, `UpsampleModel`, `JointModel`."""
