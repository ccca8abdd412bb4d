"""Noise of every channel, from the null space of the windows of an ACS.

Windows (`windows`) fill a space of D dimensions; the signal, smooth coils times one image, spans
only a part of it (Uecker et al., MRM 2014). The rest, the null space V_0, contains noise alone. For
channels of equal noise, its power follows from the smallest eigenvalues of the covariance R of the
windows:

    sigma^2 = m(R) / m(V_0^H R_1 V_0),   m the mean of the smallest tenth of D eigenvalues,
                                         R_1 the covariance of seeded unit noise

Smallest eigenvalues lie below their mean, the more so the fewer windows there are (Marchenko and
Pastur, 1967), and windows overlap; the denominator, the same statistic in the same null space,
corrects for both. V_0 are the eigenvectors of R whose eigenvalues do not exceed the noise, first
taken with V_0 = 1.

Channels of unequal noise have to be divided by it first, since the smallest eigenvalues are those
of the quietest channel. With the projection P = V_0 V_0^H and its blocks P_cd of channels c and d,
the power of channel c in the null space is

    E tr(P R P)_cc = sum_d |P_cd|_F^2 sigma_d^2

which is solved by sigma_c^2 <- sigma_c^2 * (left side) / (right side), positive at each step. The
null space in turn requires the channels to be divided by their noise; the first division is by the
conditional variance (`windows`), which signal raises: up to 1.6 times too large for one channel of
several, afterwards within 12 % of each other (24 lines, 2 to 32 coils, 10 to 45 dB). Nothing but
these ratios is used of them, so that the result follows every channel's gain exactly. Ours.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .windows import RIDGE, conditional_variance, window_covariance

FRACTION = 0.1

N_STEPS = 5
"""Steps in which the power of channels is told apart; 20 change the estimate by 1e-3."""


@dataclass(frozen=True, eq=False)
class NullSpace:
    """The eigenvectors ``(D, n)`` of R that hold noise alone, and their eigenvalues ``(n,)``."""

    vectors: Tensor
    power: Tensor

    @property
    def n_smallest(self) -> int:
        """Number of the eigenvalues that measure the noise."""
        return _tenth(len(self.vectors))


def channel_noise(covariance: Tensor, shape: tuple[int, int, int], width: int) -> Tensor:
    """Return sqrt(E|n|^2) of a sample of every channel, float64 ``(coil,)``.

    Parameters
    ----------
    covariance
        R of the windows of an ACS, whose channels have equal power and are independent.
    shape, width
        Of the ACS ``(coil, y, x)`` and of its windows.
    """
    unit, unit_power = _unit_noise(shape, width)
    whole = float(covariance.diagonal().real.mean())
    variance = conditional_variance(covariance, shape, width).clamp(RIDGE * whole, whole)
    variance = variance * _unequal(_null_space(_divided(covariance, variance), unit_power), shape)
    null = _null_space(_divided(covariance, variance), unit_power)
    return (variance * _noise_power(null, unit)).sqrt()


@lru_cache(maxsize=16)
def _unit_noise(shape: tuple[int, int, int], width: int) -> tuple[Tensor, Tensor]:
    """Covariance of the windows of unit noise, and its eigenvalues."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(shape, dtype=torch.complex64, generator=generator)
    covariance = window_covariance(noise, width)
    return covariance, torch.linalg.eigvalsh(covariance)


def _divided(covariance: Tensor, variance: Tensor) -> Tensor:
    """Return the covariance of channels divided by the root of their `variance` ``(coil,)``."""
    factor = variance.rsqrt().repeat_interleave(len(covariance) // len(variance))
    return factor[:, None] * covariance * factor


def _null_space(covariance: Tensor, unit_power: Tensor) -> NullSpace:
    """Return the null space of R; `unit_power` are the eigenvalues of R of unit noise."""
    power, vectors = torch.linalg.eigh(covariance)
    # Of a scan without noise, smaller eigenvalues are the rounding of the largest one.
    power = power.clamp_min(torch.finfo(power.dtype).eps * float(power[-1]))
    n_smallest = _tenth(len(power))
    first_guess = power[:n_smallest].mean() / unit_power[:n_smallest].mean()
    n_null = max(n_smallest, int((power <= first_guess * unit_power[-1]).sum()))
    return NullSpace(vectors[:, :n_null], power[:n_null])


def _noise_power(null: NullSpace, unit: Tensor) -> Tensor:
    """Return sigma^2 of channels of equal noise, where `unit` is the covariance of unit noise."""
    expected = torch.linalg.eigvalsh(null.vectors.mH @ unit @ null.vectors)
    return null.power[: null.n_smallest].mean() / expected[: null.n_smallest].mean()


def _unequal(null: NullSpace, shape: tuple[int, int, int]) -> Tensor:
    """Return the noise power of every channel relative to that of all, float64 ``(coil,)``."""
    n_coils, tiny = shape[0], torch.finfo(torch.float64).tiny
    by_channel = (n_coils, len(null.vectors) // n_coils)
    found = (null.vectors.abs().square() @ null.power).reshape(by_channel).sum(1).clamp_min(tiny)
    projection = (null.vectors @ null.vectors.mH).abs().square()
    shared = projection.reshape(by_channel + by_channel).sum((1, 3))
    # Started at a common level: the smallest null spaces tell nothing apart.
    power = (found.sum() / shared.sum()).expand(n_coils)
    for _ in range(N_STEPS):
        power = power * found / (shared @ power).clamp_min(tiny)
    return power


def _tenth(n: int) -> int:
    return max(1, int(FRACTION * n))
