"""The sums of the lines of one image, before it is known which lines may be added up."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from jrsr_core.mrd.header.encoding import PhaseEncodeGrid
from jrsr_core.mrd.lines.grid import sample_counts
from jrsr_core.mrd.lines.readout import LineLayout

from .accumulate import LineReader, SummedLines


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
