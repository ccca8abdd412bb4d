"""Lines of one place that contradict each other: found while they are added up, and mended.

With x_i the n lines that measured a place, their scatter and what noise explains of it are

    sum_i |x_i|^2 - |sum_i x_i|^2 / n   and   (n - 1) sigma^2 per sample,

both added up over all places that several lines measured, as shares of the sum of |x_i|^2. sigma^2
is that of the noise data, or at most the power of the weakest place. Of many places it is at least
the scatter of the weak ones: the noise data may be wrong, and a filter of the raw data leaves
nearly no noise in the weakest place. Averages that contradict each other are brought to the phase
of the first one: motion during diffusion encoding changes it, and their sum would cancel. If that
does not help, only the first line of every place is used. Ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from torch import Tensor

from .accumulate import LineReader, LineState, SummedLines, squares
from .distinct import distinct_rows
from .encoding import PhaseEncodeGrid
from .grid import line_offsets, line_places, sample_counts
from .lines import LINES_AT_ONCE, only_calibrates
from .readout import LineLayout, measured_share

LIMIT = 0.0625
"""Share of the power, beyond the noise, that averages may contradict: 1/4 of the amplitude, as an
image may contradict its measurement (`reconstruction.contradiction`)."""

RATIO, ESTIMATED_RATIO = 2.0, 4.0
"""Times the power that noise explains, with noise data and without: an error of the noise level by
1.4 or by 2 cannot reach it."""

SIGNIFICANT = 0.01
"""Share of the power of the whole image above which contradicting lines spoil it."""

MANY = 16
"""Places of several lines from which their scatter tells the noise."""

QUANTILE, ESTIMATED_QUANTILE = 0.1, 0.5
"""Place whose scatter is the least that counts as noise, from 0 (least scatter) to 1, with noise
data and without. What contradicts scatters with the signal: weak places have little of it."""

CENTRAL = 16
"""Lines and partitions about k = 0 by which the phases of averages are compared."""


@dataclass(frozen=True, eq=False)
class LineSums:
    """How the lines of an image are added up.

    Attributes
    ----------
    add
        Adds up the lines of these numbers, each times its factor (None: 1).
    counts
        Returns how often samples ``(place, nx)``, or places ``(place, 1)``, were measured by lines
        with these headers.
    """

    reader: LineReader
    lines: np.ndarray
    layout: LineLayout
    grid: PhaseEncodeGrid
    add: Callable[[np.ndarray, Tensor | None], SummedLines]
    counts: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of_samples(
        cls, reader: LineReader, lines: np.ndarray, layout: LineLayout, grid: PhaseEncodeGrid
    ) -> "LineSums":
        """Return the sums of the samples of lines, which no transform changes."""
        return cls(
            reader,
            lines,
            layout,
            grid,
            lambda members, factors: reader.sum(lines[members], grid, layout, factors=factors),
            lambda heads: sample_counts(heads, grid, layout),
        )

    @property
    def heads(self) -> np.ndarray:
        """Headers of the lines."""
        return self.reader.source.heads[self.lines]


@dataclass(frozen=True)
class AveragedLines:
    """Lines added up so that none cancels another.

    Attributes
    ----------
    note
        What was done about averages that differ, empty if nothing was.
    contradiction
        Why the image is not what was meant to be measured; empty if it is.
    """

    summed: SummedLines
    note: str = ""
    contradiction: str = ""


@dataclass(frozen=True)
class Scatter:
    """How much lines of one place differ: shares of their power, and of that of the image."""

    measured: float = 0.0
    expected: float = 0.0
    of_image: float = 0.0
    has_noise_data: bool = False

    @property
    def contradicts(self) -> bool:
        """Whether the lines differ by far more than their noise."""
        is_large = self.measured - self.expected > LIMIT
        ratio = RATIO if self.has_noise_data else ESTIMATED_RATIO
        return is_large and self.measured > ratio * self.expected

    def __str__(self) -> str:
        return (
            f"lines of one place differ by {self.measured:.0%} of their power, "
            f"noise explains at most {self.expected:.0%}"
        )


def sum_averages(sums: LineSums) -> AveragedLines:
    """Add up the lines of an image; averages that contradict each other do not cancel."""
    every = np.arange(len(sums.lines))
    summed = sums.add(every, None)
    scatter = find_scatter(summed, sums)
    if not scatter.contradicts:
        return AveragedLines(summed)
    if scatter.of_image < SIGNIFICANT:
        return AveragedLines(summed, f"{scatter}: their mean is used")
    # One sum at a time is in memory.
    states, usable = summed.states, summed.measured
    del summed
    phases = average_phases(sums, usable)
    aligned = sums.add(every, torch.polar(torch.ones_like(phases), -phases).to(torch.complex64))
    if not find_scatter(aligned, sums).contradicts:
        degrees = float(phases.abs().max().rad2deg())
        note = f"averages differ in phase, by up to {degrees:.0f} degrees: the phase is removed"
        return AveragedLines(aligned, f"{scatter} ({note})")
    del aligned
    first = _first_lines(sums, usable)
    alone = sums.add(first, None)
    states = np.where(usable, LineState.LEFT_OUT, states)
    states[first] = alone.states
    return AveragedLines(
        SummedLines(alone.total, alone.power, states),
        contradiction=f"{scatter}: the first line of every place is used alone",
    )


def find_scatter(summed: SummedLines, sums: LineSums) -> Scatter:
    """Return how much the lines of one place differ.

    With s the scatter of all places that several lines measured, p their power, e what noise
    explains of s, and E the energy of the mean of all places, the shares are s / p, e / p and
    (s - e) / (s + E).
    """
    power = float(summed.power.sum())
    if not 0 < power < inf:
        return Scatter()
    heads = sums.heads[summed.measured]
    counts = torch.from_numpy(sums.counts(heads))
    repeated = summed.power.nonzero().flatten()
    by_place = summed.power[repeated] - _energies(summed.total, counts, repeated)
    scatter = float(by_place.sum())
    if scatter <= LIMIT * power:
        return Scatter(scatter / power)
    n_values = float(summed.total.shape[1])
    if counts.shape[1] == 1:
        # Counts of places stand for those of all their samples.
        n_values *= summed.total.shape[-1] * measured_share(heads, sums.layout)
    measured = (counts > 0).any(1).nonzero().flatten()
    energies = _energies(summed.total, counts, measured)
    n_free = (counts[repeated] - 1).clamp_min(0).sum(1) * n_values
    stated = sums.reader.noise_power(heads)
    if stated is None:
        noise = float((energies / ((counts[measured] > 0).sum(1) * n_values)).min())
    else:
        noise = stated
    if len(repeated) >= MANY:
        share = ESTIMATED_QUANTILE if stated is None else QUANTILE
        noise = max(noise, float((by_place / n_free.clamp_min(1)).quantile(share)))
    explained = noise * float(n_free.sum())
    total = scatter + float(energies.sum())
    of_image = max(scatter - explained, 0.0) / total
    return Scatter(scatter / power, explained / power, of_image, stated is not None)


def _energies(total: Tensor, counts: Tensor, rows: Tensor) -> Tensor:
    """Return |sum x|^2 / n of places, summed over their samples, float64 ``(row,)``."""
    parts = [
        (squares(total[part]) / counts[part].clamp_min(1)).sum(1)
        for part in rows.split(LINES_AT_ONCE)
    ]
    return torch.cat(parts)


def average_phases(sums: LineSums, usable: np.ndarray) -> Tensor:
    """Return the phase of the average of every line against the first one, float64 ``(line,)``.

    It is that of the inner product of their central lines, those that are `usable`.
    """
    member = _averages(sums)
    numbers = np.unique(member[usable])
    block = sums.grid._replace(ny=min(sums.grid.ny, CENTRAL), nz=min(sums.grid.nz, CENTRAL))
    phases = torch.zeros(len(member), dtype=torch.float64)
    first = _central(sums, block, usable & (member == numbers[0]))
    for number in numbers[1:]:
        other = _central(sums, block, usable & (member == number))
        product = (first.conj() * other).sum(dtype=torch.complex128)
        phases[torch.from_numpy(member == number)] = product.angle()
    return phases


def _central(sums: LineSums, block: PhaseEncodeGrid, chosen: np.ndarray) -> Tensor:
    return sums.reader.sum(sums.lines[chosen], block, sums.layout).total


def _averages(sums: LineSums) -> np.ndarray:
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


def _first_lines(sums: LineSums, usable: np.ndarray) -> np.ndarray:
    """Return the numbers of one usable line of every place: of the first average that has it.

    A line of the image is taken before one that only calibrates.
    """
    places = line_places(sums.heads, sums.grid)
    order = np.lexsort((_averages(sums), only_calibrates(sums.heads)))
    order = order[usable[order]]
    _, first = np.unique(places[order], return_index=True)
    return np.sort(order[first])
