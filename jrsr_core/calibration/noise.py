"""Noise level of a scan without noise lines, from the null space of its ACS.

    sigma = root mean square, over the channels, of the noise of a channel (`null_space`)

It is the level of channels of equal noise, as those whitened by noise lines are, and for unequal
ones (every receiver has its own gain) the level with which n samples of all channels have the noise
n sigma^2. Channels without power, and those that others explain (a copy, a sum), have no noise of
their own and are left out: each of them has eigenvalues of zero in the null space. Ours.

Between 20 and 60 dB, 2 to 32 coils: right within 4 % where the ACS spans the readout (1-D masks; 2
coils above 50 dB within 10 %), mostly within 10 % and 25 % at worst for a square ACS of 24 x 24;
the same for gains between 0.5 and 2, and for one coil of a tenth of the gain. A single coil has no
redundancy but the empty margin of its field of view; what comes out there is an upper bound, and
the power of its outermost samples is another one: the smaller of both is taken.
"""

import math

import torch
from torch import Tensor

from jrsr_core.acs import MAX_LINES, cut_acs, find_acs
from jrsr_core.data import KSpaceSlice
from jrsr_core.tensors import is_finite

from .null_space import channel_noise
from .whitening import independent_channels, is_dead, noise_covariance
from .windows import WINDOWS_PER_DIMENSION, kernel_width, window_covariance

MIN_OWN_LINES = 6
"""Sides of the own ACS from which the noise of a slice is estimated; below, its other ACS is."""

OWN_SIGNAL = 1e-12
"""Share of its power that a channel has to have for itself. Signal is shared almost entirely, so
that the limit is far below the noise of any scan; copies have 1e-14 (rounding of single precision).
"""

ROUNDING = 1e-7
"""Of the root mean square of the ACS: samples in single precision have this noise, and a smaller
estimate is none."""

OUTER = 0.8
"""Distance from k = 0, 1 at the ends of either axis, beyond which samples are outermost."""

MIN_OUTER = 100


def noise_std_of(slice_: KSpaceSlice) -> float:
    """Return sqrt(E|n|^2) of a sample: as measured, else estimated from the slice or its ACS.

    It is estimated before compression, whose matrices come from the ACS and gather its noise.
    """
    if slice_.noise_std is not None:
        return slice_.noise_std
    if has_own_lines(slice_):
        return estimate_noise_std(slice_.kspace, slice_.mask)
    return estimate_noise_std(slice_.acs, torch.ones_like(slice_.acs[0].real))


def has_own_lines(slice_: KSpaceSlice) -> bool:
    """Return whether the slice's own ACS is large enough for an estimate."""
    n_coils, *grid = slice_.kspace.shape
    try:
        block = find_acs(slice_.mask, (MAX_LINES, grid[1]))
    except ValueError:
        return False
    sides = [side.stop - side.start for side in block]
    is_wide = all(m >= min(MIN_OWN_LINES, n) for m, n in zip(sides, grid, strict=True))
    return is_wide and math.prod(sides) >= WINDOWS_PER_DIMENSION * n_coils


def estimate_noise_std(kspace: Tensor, mask: Tensor) -> float:
    """Return sqrt(E|n|^2) of one k-space sample, 0 where the ACS is zero.

    Parameters
    ----------
    kspace
        complex ``(coil, ky, kx)``; the noise of two coils, or of two samples, is independent.
    mask
        0/1 ``(ky, kx)``.

    Raises
    ------
    ValueError
        No ACS, an ACS too small, or samples that are not finite.
    """
    acs = cut_acs(kspace, mask, (MAX_LINES, mask.shape[-1]))
    if not is_finite(acs):
        raise ValueError("acs has samples that are not finite")
    channels = own_channels(acs)
    if not channels:
        return 0.0
    found = _root_mean_square(_noise_of_channels(acs[channels].cpu()))
    return min(found, outer_noise_std(kspace[channels], mask)) if len(channels) == 1 else found


def own_channels(acs: Tensor) -> list[int]:
    """Return the channels of an ACS ``(coil, y, x)`` that have power and are no sum of others."""
    covariance = noise_covariance(acs.flatten(1)).cpu()
    live = (~is_dead(covariance)).nonzero().flatten().tolist()
    return independent_channels(covariance, live, OWN_SIGNAL)


def _noise_of_channels(acs: Tensor) -> Tensor:
    """Return sqrt(E|n|^2) of a sample of every channel, float64 ``(coil,)``."""
    shape = (acs.shape[0], acs.shape[1], acs.shape[2])
    width = kernel_width(shape)
    # Divided by their size, channels of any gain are far from the rounding of each other.
    size = acs.abs().double().square().mean((1, 2)).sqrt()
    covariance = window_covariance(acs / size[:, None, None], width)
    return size * channel_noise(covariance, shape, width).clamp_min(ROUNDING)


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def outer_noise_std(kspace: Tensor, mask: Tensor) -> float:
    """Return an upper bound of sqrt(E|n|^2), from the outermost measured samples.

    The median of |n|^2 is sigma^2 ln 2; with signal among the samples it is larger. The bound is
    the root mean square over the channels. Samples that are exactly zero were not measured.
    Infinite where a channel has fewer than `MIN_OUTER` samples left.
    """
    y, x = ((torch.arange(n) - n // 2) * 2 / n for n in mask.shape)
    is_outer = (y[:, None] ** 2 + x[None, :] ** 2 > OUTER**2).to(mask.device) & (mask > 0)
    channels = [power[power > 0] for power in kspace[:, is_outer].abs().square()]
    channels = [power for power in channels if power.numel()]
    if not channels or min(map(len, channels)) < MIN_OUTER:
        return math.inf
    medians = [float(power.median()) for power in channels]
    return (math.fsum(medians) / len(medians) / math.log(2)) ** 0.5
