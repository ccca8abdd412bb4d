"""Exceptions for scans that cannot be reconstructed; each message is one line for the user."""

from jrsr_core.data import KSpaceSlice, KSpaceVolume


class BadScan(ValueError):
    """The input is broken: of another format than expected, cut off, or with impossible numbers."""


class PartialImage(ValueError):
    """One slice or volume that is not what was meant to be measured.

    `rest` is the slice or volume of the lines that can be used: input for a fallback
    reconstruction, not for a model.
    """

    def __init__(self, message: str, rest: KSpaceSlice | KSpaceVolume) -> None:
        super().__init__(message)
        self.rest = rest


class BadSamples(PartialImage, BadScan):
    """NaN or infinite samples in some lines, which `rest` is without."""


class ContradictoryLines(PartialImage, BadScan):
    """Lines of one place that differ far more than their noise; `rest` has one of each place."""


class UnsupportedScan(ValueError):
    """The input is valid, but a kind of scan that is not reconstructed."""


class IncompleteImage(PartialImage, UnsupportedScan):
    """The measurement broke off, or left out the centre of k-space."""
