"""Lines -> readouts, a block at a time: checked, whitened, brought to one grid, added up."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jrsr_core.calibration.whitening import whiten
from jrsr_core.data import Encoding

from .grid import Grid
from .lines import LineSource
from .noise import Whitening
from .readout import plan_readout, readout_kinds, readout_size

LINES_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class LineReader:
    """Reads the lines of a source and whitens them where `whitening` is not None."""

    source: LineSource
    whitening: Whitening | None

    def sum(
        self,
        lines: np.ndarray,
        grid: Grid,
        encoding: Encoding,
        transform: Callable[[Tensor], Tensor] = lambda readouts: readouts,
    ) -> tuple[Tensor, np.ndarray]:
        """Add up lines that share a place.

        Parameters
        ----------
        lines
            Indices into the source.
        transform
            Applied to every block ``(line, coil, nx)`` before it is added.

        Returns
        -------
        Tensor
            complex64 ``(ny * nz, coil, nx)``; lines outside the grid, or with samples that are not
            finite, are left out.
        ndarray
            Boolean per line: whether it is finite.
        """
        heads = self.source.heads[lines]
        places = grid.places(heads)
        finite = np.ones(len(lines), dtype=bool)
        total = self._empty(heads, grid, encoding, transform)
        for members, readouts, good in self._blocks(lines, np.flatnonzero(places >= 0), encoding):
            finite[members] = good
            where = torch.from_numpy(places[members[good]])
            total.index_add_(0, where, transform(readouts))
        return total, finite

    def _empty(
        self, heads: np.ndarray, grid: Grid, encoding: Encoding, transform: Callable
    ) -> Tensor:
        n_coils = int(heads["active_channels"][0])
        line = torch.zeros(1, n_coils, readout_size(encoding), dtype=torch.complex64)
        return line.new_zeros((grid.ny * grid.nz, *transform(line).shape[1:]))

    def _blocks(
        self, lines: np.ndarray, wanted: np.ndarray, encoding: Encoding
    ) -> Iterator[tuple[np.ndarray, Tensor, np.ndarray]]:
        """Yield members of `lines`, the finite readouts among them, and which ones are finite."""
        for kind, of_kind in readout_kinds(self.source.heads[lines[wanted]]).items():
            readout = plan_readout(kind, encoding)
            for start in range(0, len(of_kind), LINES_AT_ONCE):
                members = wanted[of_kind[start : start + LINES_AT_ONCE]]
                samples = torch.from_numpy(self.source.samples(lines[members]))
                good = _finite_lines(samples)
                samples = samples if good.all() else samples[good]
                if self.whitening is not None:
                    samples = whiten(self.whitening.matrix, samples.movedim(0, 1)).movedim(0, 1)
                yield members, readout(samples), good.numpy()


def _finite_lines(samples: Tensor) -> Tensor:
    """Boolean per line of ``(line, coil, sample)``."""
    # The sum is finite unless a sample is not (or all are huge): one pass in the usual case.
    if torch.isfinite(samples.sum().abs()):
        return torch.ones(len(samples), dtype=torch.bool)
    return torch.isfinite(torch.view_as_real(samples)).flatten(1).all(1)
