"""Acquired lines: their flags, and which of them carry image data.

A line is one readout of all coils. Its head is a record of the ISMRMRD structured type, so that
flags and counters of a whole scan are tested at once. Flag number f of the standard is bit f - 1.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ismrmrd.hdf5 import acquisition_header_dtype

HEAD_DTYPE: np.dtype = acquisition_header_dtype

FIRST_IN_SLICE, LAST_IN_SLICE = 7, 8
FIRST_IN_REPETITION, LAST_IN_REPETITION = 13, 14
NOISE, CALIBRATION, CALIBRATION_AND_IMAGING = 19, 20, 21
REVERSE, PHASE_CORRECTION, LAST_IN_MEASUREMENT = 22, 24, 25

REJECTED = {
    NOISE: "noise",
    23: "navigator",
    PHASE_CORRECTION: "phase correction",
    26: "hyperpolarised feedback",
    27: "dummy scan",
    28: "real-time feedback",
    29: "surface coil correction",
    30: "phase stabilisation reference",
    31: "phase stabilisation",
}
"""Flags that keep a line out of the image, with the name under which it is counted."""


class LineSource(Protocol):
    """Where lines come from: a file, a bucket, a simulation."""

    heads: np.ndarray

    def samples(self, indices: np.ndarray) -> np.ndarray:
        """Return complex64 ``(line, coil, sample)`` of lines that have one common size."""
        ...


@dataclass(frozen=True, eq=False)
class LineList:
    """Lines in memory: heads ``(n,)`` and one complex64 array ``(coil, sample)`` for each."""

    heads: np.ndarray
    data: list[np.ndarray]

    def samples(self, indices: np.ndarray) -> np.ndarray:
        """Return complex64 ``(line, coil, sample)``."""
        return np.stack([self.data[i] for i in indices]).astype(np.complex64, copy=False)


def has_flag(heads: np.ndarray, flag: int) -> np.ndarray:
    """Boolean per line."""
    return (heads["flags"] >> np.uint64(flag - 1)) & np.uint64(1) == 1


def flag_bits(*flags: int) -> int:
    """Value of the field ``flags`` with these flags set."""
    return sum(1 << (flag - 1) for flag in flags)


def sort_lines(heads: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Split a scan by flags.

    Returns
    -------
    image, noise, rejected
        Indices of the image lines (calibration lines among them) and of the noise lines, and
        the number of lines that are neither, by reason.
    """
    keep = np.ones(len(heads), dtype=bool)
    rejected: dict[str, int] = {}
    for flag, name in REJECTED.items():
        hit = has_flag(heads, flag) & keep
        keep &= ~hit
        if flag != NOISE and hit.any():
            rejected[name] = int(hit.sum())
    noise = has_flag(heads, NOISE)
    return np.flatnonzero(keep), np.flatnonzero(noise), rejected
