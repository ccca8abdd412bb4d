"""The two ways a scan can disappoint us; each carries one line for the user."""

from jrsr_core.data import KSpaceSlice, KSpaceVolume


class BadScan(ValueError):
    """The input is broken: not the format it claims to be, cut off, or with impossible numbers."""


class BadSamples(BadScan):
    """NaN or infinite samples in one slice or volume.

    `rest` is what remains without the lines that hold them: input for a fallback, not for a model.
    """

    def __init__(self, message: str, rest: KSpaceSlice | KSpaceVolume) -> None:
        super().__init__(message)
        self.rest = rest


class UnsupportedScan(ValueError):
    """The input is sound, but of a kind that is declined."""
