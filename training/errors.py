"""Failures that have an exit code of their own."""


class TrainingDiverged(ValueError):
    """Gradients stayed without a finite value; the last good state is in the checkpoint."""
