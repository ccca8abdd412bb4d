"""Compares the averages of an image by their lines about k = 0.

With c_i the central lines of average i, its phase is that of c_1^H c_i, and the average that agrees
best with the others has the largest mean over j of |c_i^H c_j| / (|c_i| |c_j|). Ours.
"""

import numpy as np
import torch
from torch import Tensor

from jrsr_core.mrd.lines.distinct import distinct_rows
from jrsr_core.mrd.lines.grid import line_offsets, line_places

from .line_sums import LineSums

CENTRAL = 16
"""Lines and partitions about k = 0 by which averages are compared."""

WHOLE = 0.9
"""Places of an average, relative to the one with the most, from which it stands for the others."""

ALIKE = 0.03
"""Difference of their agreement with the others up to which the earlier of two averages is taken:
by so much their noise may change it."""


def average_phases(sums: LineSums, usable: np.ndarray) -> Tensor:
    """Return the phase of the average of every line against the first one, float64 ``(line,)``.

    It is that of the inner product of their central lines, those that are `usable`.
    """
    member = average_numbers(sums)
    numbers = np.unique(member[usable])
    phases = torch.zeros(len(member), dtype=torch.float64)
    first = _central(sums, usable & (member == numbers[0]))
    for number in numbers[1:]:
        other = _central(sums, usable & (member == number))
        product = (first.conj() * other).sum(dtype=torch.complex128)
        phases[torch.from_numpy(member == number)] = product.angle()
    return phases


def _central(sums: LineSums, chosen: np.ndarray) -> Tensor:
    """Return the sum of the chosen ones among the central lines."""
    block = sums.grid._replace(ny=min(sums.grid.ny, CENTRAL), nz=min(sums.grid.nz, CENTRAL))
    return sums.reader.sum(sums.lines[chosen], block, sums.layout).total


def average_numbers(sums: LineSums) -> np.ndarray:
    """Return the number of the average of every line.

    Where counters name one average only, or more than a place has lines, the lines of each place
    are numbered in their order.
    """
    heads = sums.heads
    named = distinct_rows([heads["measurement_uid"], heads["idx"]["average"]])
    places = distinct_rows([*line_offsets(heads, sums.grid)]).member
    n_lines = np.bincount(places)
    if 1 < len(named.rows) <= n_lines.max():
        return named.member
    order = np.argsort(places, kind="stable")
    first = np.cumsum(n_lines) - n_lines
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order)) - first[places[order]]
    return numbers


def best_average(sums: LineSums, usable: np.ndarray) -> int | None:
    """Return the average that agrees best with the others; None if it is the first one.

    Averages that measured fewer places than others do not count. Of two, none is the better one.
    """
    member, places = average_numbers(sums), line_places(sums.heads, sums.grid)
    numbers = np.unique(member[usable])
    n_places = np.array([len(np.unique(places[usable & (member == n)])) for n in numbers])
    whole = numbers[n_places >= WHOLE * n_places.max()]
    if len(whole) < 3:
        return None
    parts = torch.stack([_central(sums, usable & (member == n)).flatten() for n in whole])
    parts /= torch.linalg.vector_norm(parts, dim=1, keepdim=True).clamp_min(1e-30)
    agreement = (parts @ parts.mH).abs().mean(1)
    best = whole[int((agreement > agreement.max() - ALIKE).nonzero()[0])]
    return None if best == numbers[0] else int(best)
