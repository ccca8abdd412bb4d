"""The samples of one image that show where its k-space has its centre; read without torch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jrsr_core.mrd.header.encoding import PhaseEncodeGrid
from jrsr_core.mrd.lines.acquired import LineSource
from jrsr_core.mrd.lines.broken import broken_channels
from jrsr_core.mrd.lines.distinct import distinct_rows
from jrsr_core.mrd.lines.grid import line_offsets
from jrsr_core.mrd.lines.readout import readout_kinds

PROBED_AT_ONCE = 64
"""Lines that are read at a time."""
STRIP = 2
"""Of a volume only lines within so many of the supposed centre of either axis are read."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Energy of the lines of one image.

    Attributes
    ----------
    lines
        Their indices.
    energy
        Sum over samples and coils that are finite, float64 ``(line,)``.
    finite
        Boolean ``(line, coil)``.
    """

    lines: np.ndarray
    energy: np.ndarray
    finite: np.ndarray

    @property
    def broken_coils(self) -> frozenset[int]:
        """The `broken_channels` of these lines."""
        return frozenset(broken_channels((~self.finite).sum(0), len(self.lines)))


def near_lines(heads: np.ndarray, grid: PhaseEncodeGrid) -> PhaseEncodeGrid:
    """Return the grid with the median counter as centre along axes whose centre no line is near."""
    centers = [grid.center_line, grid.center_partition]
    for axis, offsets in enumerate(line_offsets(heads, grid)):
        if (np.abs(offsets) > STRIP).all():
            centers[axis] += int(np.median(offsets))
    return grid._replace(center_line=centers[0], center_partition=centers[1])


def probe_lines(heads: np.ndarray, lines: np.ndarray, grid: PhaseEncodeGrid) -> np.ndarray:
    """Return the lines that are worth reading: one of every place, of a volume two strips.

    The strips go through the centre of `grid`.
    """
    y, z = line_offsets(heads[lines], grid)
    first = distinct_rows([y, z]).first
    if grid.nz > 1:
        first = first[(np.abs(y[first]) <= STRIP) | (np.abs(z[first]) <= STRIP)]
    return lines[np.sort(first)]


def along(axis: int, heads: np.ndarray, grid: PhaseEncodeGrid) -> np.ndarray:
    """Return which probed lines form the strip along an axis: 1 for ky, 2 for kz.

    Lines of the other strip are many at one place and would be a peak of their own.
    """
    y, z = line_offsets(heads, grid)
    return np.abs(z if axis == 1 else y) <= STRIP


def read_probe(source: LineSource, lines: np.ndarray) -> Probe:
    """Read lines of one number of channels."""
    n_coils = int(source.heads["active_channels"][lines[0]])
    energy = np.zeros(len(lines))
    finite = np.ones((len(lines), n_coils), dtype=bool)
    for members, samples in read_alike(source, lines):
        power = np.square(samples.real, dtype=np.float64) + np.square(
            samples.imag, dtype=np.float64
        )
        per_coil = power.sum(-1)
        finite[members] = np.isfinite(per_coil)
        energy[members] = np.where(finite[members], per_coil, 0.0).sum(-1)
    return Probe(lines, energy, finite)


def read_alike(source: LineSource, lines: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions in `lines` and their samples ``(line, coil, sample)``, one size at a time."""
    for of_kind in readout_kinds(source.heads[lines]).values():
        for start in range(0, len(of_kind), PROBED_AT_ONCE):
            members = of_kind[start : start + PROBED_AT_ONCE]
            with np.errstate(all="ignore"):
                yield members, source.samples(lines[members])
