"""Noise level of a scan without noise lines, from the null space of its ACS.

Windows of k x k samples over all coils fill a space of D = coils k^2 dimensions; the signal, smooth
coils times one image, spans only a part of it (Uecker et al., MRM 2014). The rest contains noise
alone, which the smallest eigenvalues of the window covariance measure:

    R = A A^H / n_windows,   A (D x windows) the calibration matrix of the ACS,   R_1 of unit noise,
    sigma^2 = m(R) / m(V_0^H R_1 V_0),   m the mean of the smallest tenth of D eigenvalues

Smallest eigenvalues lie below their mean, the more so the fewer windows there are (Marchenko and
Pastur, 1967), and windows overlap; the denominator, the same statistic of seeded unit noise in the
same null space V_0, corrects for both. V_0 are the eigenvectors of R whose eigenvalues do not
exceed the noise, first taken with V_0 = 1. Ours.

R is made in double precision: its eigenvalues span the dynamic range of k-space, squared.

Between 20 and 60 dB, 2 to 32 coils: right within 4 % where the ACS spans the readout (1-D masks; 2
coils above 50 dB within 10 %), mostly within 10 % and 25 % at worst for a square ACS of 24 x 24. A
single coil has no redundancy but the empty margin of its field of view; what comes out there is an
upper bound, and the power of its outermost samples is another one: the smaller of both is taken.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from jrsr_core.acs import cut_acs, find_acs
from jrsr_core.data import KSpaceSlice
from jrsr_core.tensors import is_finite

from .espirit import calibration_matrix

MIN_OWN_LINES = 6
"""Sides of the own ACS from which the noise of a slice is estimated; below, its other ACS is."""

MAX_LINES = 40
"""Of a long ACS the central lines over the full readout suffice."""

MAX_KERNEL = 6
MAX_DIMENSIONS = 200
"""More cost time, 0.2 s for 450, and estimate no better."""

WINDOWS_PER_DIMENSION = 3
FRACTION = 0.1

OUTER = 0.8
"""Distance from k = 0, 1 at the ends of either axis, beyond which samples are outermost."""

MIN_OUTER = 100


def noise_std_of(slice_: KSpaceSlice) -> float:
    """Return sqrt(E|n|^2) of a sample: as measured, else estimated from the slice or its ACS.

    It is estimated before compression, whose matrices come from the ACS and gather its noise.
    """
    if slice_.noise_std is not None:
        return slice_.noise_std
    if _has_own_lines(slice_):
        return estimate_noise_std(slice_.kspace, slice_.mask)
    return estimate_noise_std(slice_.acs, torch.ones_like(slice_.acs[0].real))


def _has_own_lines(slice_: KSpaceSlice) -> bool:
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
    """Return sqrt(E|n|^2) of one k-space sample.

    Parameters
    ----------
    kspace
        complex ``(coil, ky, kx)``; noise white over coils and samples (whitened, or of equal
        level).
    mask
        0/1 ``(ky, kx)``.

    Raises
    ------
    ValueError
        No ACS, an ACS too small, or samples that are not finite.
    """
    n_coils = kspace.shape[0]
    acs = cut_acs(kspace, mask, (MAX_LINES, mask.shape[-1]))
    if not is_finite(acs):
        raise ValueError("acs has samples that are not finite")
    shape = (n_coils, acs.shape[-2], acs.shape[-1])
    width = kernel_width(shape)
    peak = float(acs.abs().amax())
    if peak == 0:
        return 0.0
    covariance = window_covariance(acs.cpu() / peak, width)
    found = peak * _noise_power(covariance, *_unit_noise(shape, width)) ** 0.5
    return min(found, outer_noise_std(kspace, mask)) if n_coils == 1 else found


def outer_noise_std(kspace: Tensor, mask: Tensor) -> float:
    """Return an upper bound of sqrt(E|n|^2), from the outermost measured samples.

    The median of |n|^2 is sigma^2 ln 2; with signal among the samples it is larger. Samples that
    are exactly zero were not measured. Infinite where fewer than `MIN_OUTER` samples are left.
    """
    y, x = ((torch.arange(n) - n // 2) * 2 / n for n in mask.shape)
    is_outer = (y[:, None] ** 2 + x[None, :] ** 2 > OUTER**2).to(mask.device) & (mask > 0)
    power = kspace[:, is_outer].abs().square()
    power = power[power > 0]
    if power.numel() < MIN_OUTER:
        return math.inf
    return (float(power.median()) / math.log(2)) ** 0.5


def kernel_width(shape: tuple[int, int, int]) -> int:
    """Widest kernel that leaves enough windows per dimension, and stays affordable."""
    n_coils, ny, nx = shape
    for width in range(min(MAX_KERNEL, ny, nx), 0, -1):
        n_dimensions = n_coils * width**2
        n_windows = (ny - width + 1) * (nx - width + 1)
        is_affordable = n_dimensions <= MAX_DIMENSIONS or width == 1
        if is_affordable and n_windows >= WINDOWS_PER_DIMENSION * n_dimensions:
            return width
    raise ValueError(f"acs of {ny}x{nx} is too small to estimate the noise of {n_coils} coils")


def window_covariance(acs: Tensor, width: int) -> Tensor:
    """Return R, complex128 ``(coil k k, coil k k)``, coils first, of an ACS ``(coil, y, x)``."""
    windows = calibration_matrix(acs.to(torch.complex128), (width, width))
    return windows @ windows.mH / windows.shape[1]


@lru_cache(maxsize=16)
def _unit_noise(shape: tuple[int, int, int], width: int) -> tuple[Tensor, Tensor]:
    """Covariance of the windows of unit noise, and its eigenvalues."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(shape, dtype=torch.complex64, generator=generator)
    covariance = window_covariance(noise, width)
    return covariance, torch.linalg.eigvalsh(covariance)


def _noise_power(covariance: Tensor, unit: Tensor, unit_power: Tensor) -> float:
    """Return sigma^2 of the noise in `covariance`, where `unit` is the covariance of unit noise."""
    power, vectors = torch.linalg.eigh(covariance)
    n_smallest = max(1, int(FRACTION * len(power)))
    smallest = power[:n_smallest].mean().clamp_min(0)
    first_guess = smallest / unit_power[:n_smallest].mean()
    is_null = power <= first_guess * unit_power[-1]
    null = vectors[:, : max(n_smallest, int(is_null.sum()))]
    expected = torch.linalg.eigvalsh(null.mH @ unit @ null)[:n_smallest].mean()
    return float(smallest / expected)
