"""Directions of the lines of one image, which have to be the same.

Sets, contrasts, phases and repetitions may differ in theirs: a reversed or exchanged phase encode
makes another image of the same slice.
"""

import math

import numpy as np

from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.lines.acquired import IMAGE_COUNTERS
from jrsr_core.mrd.lines.distinct import distinct_rows
from jrsr_core.mrd.lines.geometry import MIN_COSINE


def check_directions(heads: np.ndarray, slices: np.ndarray) -> None:
    """Decline images whose lines run in different directions.

    Parameters
    ----------
    heads
        Headers of lines of one encoding space.
    slices
        The slice number of each.

    Raises
    ------
    UnsupportedScan
        Readout or phase-encode directions of one image that differ by more than
        `geometry.MAX_ANGLE_DEG`.
    """
    counters = [slices, *(heads["idx"][name] for name in IMAGE_COUNTERS)]
    image = distinct_rows(counters).member
    for field, name in (("read_dir", "readout"), ("phase_dir", "phase-encode")):
        cosine = _least_cosine(image, heads[field])
        if cosine < MIN_COSINE:
            angle = math.degrees(math.acos(max(cosine, -1.0)))
            raise UnsupportedScan(
                f"{name} directions of lines of one image differ by {angle:.0f} degrees"
            )


def _least_cosine(image: np.ndarray, directions: np.ndarray) -> float:
    """Return the least cosine of the directions of one image; empty ones do not count."""
    given = directions.any(axis=-1)
    rows, _, _ = distinct_rows([image[given], *directions[given].T.astype(np.float64)])
    if not len(rows):
        return 1.0
    units = rows[:, 1:] / np.linalg.norm(rows[:, 1:], axis=1, keepdims=True)
    _, first, member = np.unique(rows[:, 0], return_index=True, return_inverse=True)
    return float((units * units[first][member.reshape(-1)]).sum(axis=1).min())
