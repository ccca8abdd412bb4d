"""Acquired lines: their headers, their flags, and which of them carry image data.

A line is one readout of all coils. The headers of a scan are one structured array, named `heads`
after the field of ISMRMRD files, so that flags and counters of all lines are tested at once. Flag
number f of the standard is bit f - 1. Source: ISMRMRD, Inati et al., MRM 2017;77:411.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jrsr_core.data.origin import VOLUME_COUNTERS

ENCODE_STEPS = ("kspace_encode_step_1", "kspace_encode_step_2")
"""Counters of the phase encodes of a line, along ky and kz."""

LINE_COUNTERS = (
    *ENCODE_STEPS,
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)

_CONTRAST, _PHASE, _REPETITION, _SET = VOLUME_COUNTERS
IMAGE_COUNTERS = (_REPETITION, _SET, _PHASE, _CONTRAST)
"""Counters of the images of one slice, the slowest first."""

NESTING = (*IMAGE_COUNTERS, "slice")
"""Counters of the images of an encoding space in their order, the last one fastest."""

FRAME_COUNTERS = (*IMAGE_COUNTERS, "average", "slice")
"""Counters of the frames that are measured in the order of time, the last one fastest."""

COUNTERS_DTYPE = np.dtype([*((name, "<u2") for name in LINE_COUNTERS), ("user", "<u2", (8,))])

HEAD_DTYPE = np.dtype(
    [
        ("version", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("scan_counter", "<u4"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("number_of_samples", "<u2"),
        ("available_channels", "<u2"),
        ("active_channels", "<u2"),
        ("channel_mask", "<u8", (16,)),
        ("discard_pre", "<u2"),
        ("discard_post", "<u2"),
        ("center_sample", "<u2"),
        ("encoding_space_ref", "<u2"),
        ("trajectory_dimensions", "<u2"),
        ("sample_time_us", "<f4"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("idx", COUNTERS_DTYPE),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
    ]
)
"""AcquisitionHeader of ISMRMRD, packed; defined here because importing `ismrmrd` takes long."""

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

LINES_AT_ONCE = 128
"""Lines that are read, and brought to the grid of their image, at a time."""

LINE_BYTES = 2200
"""Memory of a line of a running scan beyond its samples: header, arrays around both, counters."""


def line_bytes(data: Sequence[np.ndarray]) -> int:
    """Return the memory of lines with these samples while they are kept in a running scan."""
    return LINE_BYTES * len(data) + sum(line.nbytes for line in data)


class LineSource(Protocol):
    """Source of lines: a file, a bucket, a simulation."""

    @property
    def heads(self) -> np.ndarray:
        """Headers of all lines."""
        ...

    def samples(self, indices: np.ndarray) -> np.ndarray:
        """Return complex64 ``(line, coil, sample)`` of lines that have one common size."""
        ...


@dataclass(frozen=True, eq=False)
class LineList:
    """Lines in memory: headers ``(n,)`` and one complex64 array ``(coil, sample)`` for each."""

    heads: np.ndarray
    data: Sequence[np.ndarray]

    def samples(self, indices: np.ndarray) -> np.ndarray:
        """Return complex64 ``(line, coil, sample)``."""
        return np.stack([self.data[i] for i in indices]).astype(np.complex64, copy=False)


def has_flag(heads: np.ndarray, flag: int) -> np.ndarray:
    """Return a boolean per line: whether the flag of this number is set."""
    return (heads["flags"] >> np.uint64(flag - 1)) & np.uint64(1) == 1


def calibrates(heads: np.ndarray) -> np.ndarray:
    """Return a boolean per line: whether it is flagged for calibration, alone or with the image."""
    return has_flag(heads, CALIBRATION) | has_flag(heads, CALIBRATION_AND_IMAGING)


def only_calibrates(heads: np.ndarray) -> np.ndarray:
    """Return a boolean per line: whether it is flagged for calibration and not for the image."""
    return has_flag(heads, CALIBRATION) & ~has_flag(heads, CALIBRATION_AND_IMAGING)


def kept_samples(heads: np.ndarray) -> np.ndarray:
    """Return the number of samples of every line that are not to be discarded, int64.

    It is negative where more are to be discarded than there are.
    """
    n_kept = heads["number_of_samples"].astype(np.int64)
    return n_kept - heads["discard_pre"] - heads["discard_post"]


def flag_bits(*flags: int) -> int:
    """Return the value of the field ``flags`` with these flags set."""
    return sum(1 << (flag - 1) for flag in flags)


def channel_mask(n_coils: int) -> np.ndarray:
    """Return the field ``channel_mask``, uint64 ``(16,)``, with the bits of the first channels."""
    bits = (1 << min(n_coils, 1024)) - 1
    return np.array([bits >> 64 * word & 2**64 - 1 for word in range(16)], np.uint64)


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
    if (empty := keep & (kept_samples(heads) <= 0)).any():
        keep &= ~empty
        rejected["without samples"] = int(empty.sum())
    noise = has_flag(heads, NOISE)
    return np.flatnonzero(keep), np.flatnonzero(noise), rejected
