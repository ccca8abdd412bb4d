"""Where lines lie in k-space.

Line idx lies at row idx - center + ny//2 of the encoded matrix (at row idx where the header gives
no centre), and likewise along the second phase encode; one place is the pair (ky, kz), counted as
``ky * nz + kz``. A 2-D scan has nz = 1. Rows never measured (acceleration, partial Fourier,
partial matrix) are zero in the mask.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jrsr_core.data import Encoding

from .errors import UnsupportedScan
from .readout import plan_readout, readout_kinds, readout_size


@dataclass(frozen=True)
class Grid:
    """Phase-encode plane ``(ny, nz)`` and the counters that lie at its centre ``(n//2, n//2)``."""

    ny: int
    nz: int
    center_line: int
    center_partition: int

    @classmethod
    def of(cls, encoding: Encoding) -> "Grid":
        """Return the encoded matrix."""
        nz, ny, _ = encoding.encoding_matrix
        line, partition = encoding.center_line, encoding.center_partition
        return cls(
            ny,
            nz,
            ny // 2 if line is None else line,
            nz // 2 if partition is None else partition,
        )

    def offsets(self, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance of every line from k = 0 along ky and kz, int64."""
        idx = heads["idx"]
        return (
            idx["kspace_encode_step_1"].astype(np.int64) - self.center_line,
            idx["kspace_encode_step_2"].astype(np.int64) - self.center_partition,
        )

    def places(self, heads: np.ndarray) -> np.ndarray:
        """Place of every line, int64; -1 for lines outside."""
        y, z = self.offsets(heads)
        y, z = y + self.ny // 2, z + self.nz // 2
        inside = (y >= 0) & (y < self.ny) & (z >= 0) & (z < self.nz)
        return np.where(inside, y * self.nz + z, -1)

    def nearest_center(self, heads: np.ndarray) -> int:
        """Index of the line nearest k = 0."""
        y, z = self.offsets(heads)
        return int((y**2 + z**2).argmin())


def line_rows(heads: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Row of every line on the encoded matrix, int64; may lie outside."""
    return Grid.of(encoding).offsets(heads)[0] + encoding.encoding_matrix[1] // 2


def plane_counts(heads: np.ndarray, grid: Grid) -> Tensor:
    """How often every place was measured, float32 ``(ny, nz)``."""
    places = grid.places(heads)
    counts = np.bincount(places[places >= 0], minlength=grid.ny * grid.nz)
    return torch.from_numpy(counts.astype(np.float32)).reshape(grid.ny, grid.nz)


def sample_counts(heads: np.ndarray, grid: Grid, encoding: Encoding) -> Tensor:
    """How often every sample was measured, float32 ``(ny * nz, nx)``: readouts may be partial."""
    counts = torch.zeros(grid.ny * grid.nz, readout_size(encoding))
    for kind, members in readout_kinds(heads).items():
        span = plan_readout(kind, encoding).span
        counts[:, span] += plane_counts(heads[members], grid).reshape(-1, 1)
    return counts


def line_counts(heads: np.ndarray, encoding: Encoding) -> Tensor:
    """How often the scan measured every sample ``(ky, kx)``, in 3-D every place ``(ky, kz)``.

    Raises
    ------
    UnsupportedScan
        If no line lies on the encoded matrix.
    """
    grid = Grid.of(encoding)
    if not len(heads):
        return torch.zeros(grid.ny, grid.nz if encoding.is_3d else readout_size(encoding))
    if not (grid.places(heads) >= 0).any():
        names = ("kspace_encode_step_1", "kspace_encode_step_2")
        low, high = ([int(f(heads["idx"][name])) for name in names] for f in (np.min, np.max))
        matrix = f"{grid.ny} lines" + (f" x {grid.nz} partitions" if encoding.is_3d else "")
        where = f"{low[0]}..{high[0]}"
        if encoding.is_3d:
            where += f", partitions {low[1]}..{high[1]}"
        raise UnsupportedScan(f"lines {where} lie outside the encoded matrix of {matrix}")
    if encoding.is_3d:
        return plane_counts(heads, grid)
    return sample_counts(heads, grid, encoding)


def lines_outside(heads: np.ndarray, encoding: Encoding) -> int:
    """Count lines that the encoded matrix does not hold; they are left out."""
    return int((Grid.of(encoding).places(heads) < 0).sum())
