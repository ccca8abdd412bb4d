"""The auto-calibration block (ACS): the fully sampled rectangle around k = 0.

A block of m samples on an axis of n starts at ``n//2 - m//2``, as every crop of this package, so
that k = 0 lies at ``m//2`` of the block. With 1-D undersampling whole lines are measured and the
block spans the full readout.

Among all fully sampled blocks m x n the one with the largest min(m, `ENOUGH`) min(n, `ENOUGH`) is
taken, of equal ones the largest: beyond that a longer side cannot make up for a short one. So a
square centre is preferred to a single column that was measured from end to end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jrsr_core.masks import check_mask_axes
from jrsr_core.numeric import numeric_array

if TYPE_CHECKING:
    from torch import Tensor

Block = tuple[slice, slice]

ENOUGH = 24
"""Samples along an axis from which all that a calibration needs can be estimated."""

MAX_LINES = 40
"""Central lines that suffice of a long ACS: the calibration uses, and a volume keeps, no more."""


def find_acs(mask: Tensor | np.ndarray, max_size: tuple[int, int] | None = None) -> Block:
    """Return the slices ``(ky, kx)`` of the best fully sampled centred block.

    Parameters
    ----------
    mask
        Tensor or array ``(ky, kx)``, above 0 where measured.
    max_size
        Upper limit of the block along ky and kx; None for no limit.

    Raises
    ------
    ValueError
        A mask that is no array of numbers, with other axes or without samples, or whose centre of
        k-space was not measured.
    """
    on_cpu = mask.cpu() if hasattr(mask, "cpu") else mask
    sampled = numeric_array(on_cpu, "mask") > 0
    check_mask_axes(sampled.shape, batched=False)
    ny, nx = sampled.shape
    if not sampled[ny // 2, nx // 2]:
        raise ValueError(f"no ACS: the centre ({ny // 2}, {nx // 2}) of {ny}x{nx} is not sampled")
    limit = (ny, nx) if max_size is None else max_size
    my = np.arange(1, min(ny, limit[0]) + 1)
    mx = np.arange(1, min(nx, limit[1]) + 1)
    area = my[:, None] * mx
    # Number of samples in every centred block at once, from the summed-area table.
    table = np.zeros((ny + 1, nx + 1), np.int64)
    table[1:, 1:] = sampled.cumsum(0).cumsum(1)
    y0, x0 = ny // 2 - my // 2, nx // 2 - mx // 2
    y1, x1 = y0 + my, x0 + mx
    n_sampled = table[y1][:, x1] - table[y0][:, x1] - table[y1][:, x0] + table[y0][:, x0]
    useful = np.minimum(my, ENOUGH)[:, None] * np.minimum(mx, ENOUGH)
    rank = useful * (ny * nx + 1) + area
    best = int(np.where(n_sampled == area, rank, 0).argmax())
    iy, ix = divmod(best, len(mx))
    return slice(int(y0[iy]), int(y1[iy])), slice(int(x0[ix]), int(x1[ix]))


def cut_acs(kspace: Tensor, mask: Tensor, max_size: tuple[int, int] | None = None) -> Tensor:
    """Return the ACS ``(..., coil, ay, ax)`` of k-space ``(..., coil, ky, kx)``."""
    if kspace.shape[-2:] != mask.shape[-2:]:
        raise ValueError(f"mask is {tuple(mask.shape)}, kspace is {tuple(kspace.shape[-2:])}")
    return kspace[(..., *find_acs(mask, max_size))]
