"""Lines that a converter wrote twice.

Two measurements of one line differ by their noise; lines of equal counters and equal samples are
copies. They are no averages: the noise of their mean is that of one.
"""

import numpy as np

from jrsr_core.mrd.lines.acquired import LineSource
from jrsr_core.mrd.planning.plan import ScanPlan
from jrsr_core.mrd.planning.received import distinct_lines

N_COMPARED = 8
"""Lines of the image that are compared; equal noise in all of them is no coincidence."""


def are_copies(source: LineSource, plan: ScanPlan) -> bool:
    """Return whether all lines of the images are there several times, with equal samples."""
    lines = np.concatenate([*plan.groups.values()])
    member = distinct_lines(source.heads[lines]).member
    n_times = np.bincount(member)
    if n_times[0] == 1 or (n_times != n_times[0]).any():
        return False
    order = np.argsort(member, kind="stable").reshape(len(n_times), n_times[0])
    chosen = np.unique(np.linspace(0, len(n_times) - 1, N_COMPARED).round().astype(int))
    return all(_are_equal(source, lines[order[i]]) for i in chosen)


def _are_equal(source: LineSource, lines: np.ndarray) -> bool:
    heads = source.heads[lines]
    if len(np.unique(heads["number_of_samples"])) > 1:
        return False
    first, *others = (source.samples(lines[i : i + 1]) for i in range(len(lines)))
    return bool(first.any()) and all(np.array_equal(first, x, equal_nan=True) for x in others)
