"""Exceptions for scans that cannot be reconstructed; each message is one line for the user."""

from jrsr_core.data import KSpaceSlice, KSpaceVolume


class BadScan(ValueError):
    """The input is broken: of another format than expected, cut off, or with impossible numbers."""


class BadSamples(BadScan):
    """NaN or infinite samples in one slice or volume.

    `rest` is the slice or volume without the lines that hold them: input for a fallback
    reconstruction, not for a model.
    """

    def __init__(self, message: str, rest: KSpaceSlice | KSpaceVolume) -> None:
        super().__init__(message)
        self.rest = rest


class UnsupportedScan(ValueError):
    """The input is valid, but a kind of scan that is not reconstructed."""
