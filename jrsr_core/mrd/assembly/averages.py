"""Lines of one place that contradict each other: found while they are added up, and mended.

With x_i the n lines that measured a place, their scatter and what noise explains of it are

    sum_i |x_i|^2 - |sum_i x_i|^2 / n   and   (n - 1) sigma^2 per sample,

both added up over all places that several lines measured, as shares of the sum of |x_i|^2. sigma^2
is that of the noise data, or at most the power of the weakest place. Of many places it is at least
the scatter of the weak ones: the noise data may be wrong, and a filter of the raw data leaves
nearly no noise in the weakest place. Averages that contradict each other are brought to the phase
of the first one: motion during diffusion encoding changes it, and their sum would cancel. If that
does not help, only the first line of every place is used, of three or more averages that of the one
which agrees best with the others: the first one may be the one that moved. Ours.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from torch import Tensor

from jrsr_core.mrd.lines.acquired import LINES_AT_ONCE, only_calibrates
from jrsr_core.mrd.lines.grid import line_places
from jrsr_core.mrd.lines.readout import measured_share

from .accumulate import LineState, SummedLines, squares
from .compared_averages import average_numbers, average_phases, best_average
from .line_sums import LineSums

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
    best = best_average(sums, usable)
    chosen = _one_line_each(sums, usable, best)
    alone = sums.add(chosen, None)
    states = np.where(usable, LineState.LEFT_OUT, states)
    states[chosen] = alone.states
    use = "the first line of every place is used alone"
    if best is not None:
        use = f"average {best + 1}, which agrees best with the others, is used alone"
    return AveragedLines(
        SummedLines(alone.total, alone.power, states), contradiction=f"{scatter}: {use}"
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


def _one_line_each(sums: LineSums, usable: np.ndarray, best: int | None) -> np.ndarray:
    """Return the numbers of one usable line of every place: of `best`, else the first average.

    A line of the image is taken before one that only calibrates.
    """
    places, averages = line_places(sums.heads, sums.grid), average_numbers(sums)
    order = np.lexsort((averages, averages != best, only_calibrates(sums.heads)))
    order = order[usable[order]]
    _, first = np.unique(places[order], return_index=True)
    return np.sort(order[first])
