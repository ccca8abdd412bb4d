"""Lines of a 3-D scan -> hybrid space: inverse FFT along the readout, virtual coils on the way.

    h(x, v, ky, kz) = sum_c A_x[v, c]  IFFT_x[ k(c, ky, kz, kx) ]

A_x are the GCC matrices of the 3-D ACS, one per readout position and aligned along it, so that at
most `n_virtual_coils` coils of the volume are in memory at a time.
"""

import numpy as np
import torch
from torch import Tensor

from ..calibration.compression import CoilCompressor
from ..geometry import Encoding
from ..physics.fourier import ifft
from .placement import Grid, plane_counts
from .reader import LineReader


def hybrid_acs(acs: Tensor, n_virtual: int) -> tuple[Tensor, CoilCompressor | None]:
    """Return the ACS ``(x, coil, ay, az)`` of the virtual coils, and the compression.

    `acs` is ``(coil, ay, az, nx)`` in k-space; without an ACS, or with few coils, nothing is
    compressed.
    """
    n_coils, ay, az, nx = acs.shape
    if not ay * az:
        return acs.permute(3, 0, 1, 2), None
    compressor = None
    if n_coils > n_virtual:
        compressor = CoilCompressor.gcc(acs.flatten(1, 2), n_virtual, nx)
    lines = to_hybrid(acs.flatten(1, 2).movedim(0, 1), compressor)
    return lines.unflatten(0, (ay, az)).permute(3, 2, 0, 1).contiguous(), compressor


def to_hybrid(readouts: Tensor, compressor: CoilCompressor | None) -> Tensor:
    """Readouts ``(line, coil, kx)`` -> ``(line, virtual coil, x)``."""
    hybrid = ifft(readouts, -1)
    if compressor is None:
        return hybrid
    return torch.einsum("xvc,lcx->lvx", compressor.matrices, hybrid)


def read_hybrid(
    reader: LineReader,
    lines: np.ndarray,
    encoding: Encoding,
    compressor: CoilCompressor | None,
) -> tuple[Tensor, Tensor, np.ndarray]:
    """Return the hybrid space ``(x, coil, ky, kz)``, its counts and which lines are finite."""
    grid = Grid.of(encoding)
    total, finite = reader.sum(lines, grid, encoding, lambda r: to_hybrid(r, compressor))
    counts = plane_counts(reader.source.heads[lines[finite]], grid)
    total /= counts.clamp_min(1).reshape(-1, 1, 1)
    return total.unflatten(0, (grid.ny, grid.nz)).permute(3, 2, 0, 1), counts, finite
