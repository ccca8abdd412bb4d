"""Divides slices that do not lie on one even grid into runs of which each does."""

import numpy as np

MAX_UNEVENNESS = 0.1
"""Deviation from the even grid, relative to the slice distance, that one grid may have."""


def even_runs(places: np.ndarray) -> list[slice]:
    """Return the fewest runs that a walk along the slices finds, in their order.

    `places` are the centres of the first voxels ``(slice, 3)``, along the normal.
    """
    runs, start = [], 0
    while start < len(places):
        stop = _end(places, start)
        runs.append(slice(start, stop))
        start = stop
    return runs


def step_of(places: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the mean vector from one of several slices to the next, and the unevenness.

    The unevenness is the largest deviation from the even grid, relative to the distance.
    """
    step = (places[-1] - places[0]) / (len(places) - 1)
    off = places - places[0] - np.arange(len(places))[:, None] * step
    length = float(np.linalg.norm(step))
    return step, float(np.linalg.norm(off, axis=1).max()) / max(length, 1e-9)


def _end(places: np.ndarray, start: int) -> int:
    """Return where the run that begins at `start` ends."""
    if len(places) - start < 3 or _is_even(places[start:]):
        return len(places)
    if not _is_even(places[start : start + 3]):
        first, second = np.linalg.norm(np.diff(places[start : start + 3], axis=0), axis=1)
        # A gap lies in front of the run that follows.
        return start + (1 if first > second else 2)
    stop = start + 3
    while stop < len(places) and _is_even(places[start : stop + 1]):
        stop += 1
    return stop


def _is_even(places: np.ndarray) -> bool:
    return step_of(places)[1] <= MAX_UNEVENNESS
