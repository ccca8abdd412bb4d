"""Noise whitening of the receive channels.

    Psi = E[n n^H] (coil x coil),   Psi = L L^H (Cholesky),   W = L^(-1),   W Psi W^H = I

so every whitened channel has E|n|^2 = 1 and no two of them share noise.
Source: Pruessmann et al., MRM 2001;46:638, appendix A (decorrelation of the channels).

A channel whose noise the channels before it explain (a copy, a sum) has no noise of its own to
divide by: Psi is singular, and by rounding alone a Cholesky factor may or may not exist. Channels
are taken in their order; with Psi scaled to a unit diagonal, the share of a channel's noise power
that those before it leave is the square of its pivot. Channels below `OWN_NOISE` are left out
(ours).

The noise has to be in the units of the data. A noise scan recorded with another dwell time than
the image is first multiplied by sqrt(dwell of the noise scan / dwell of the image): the standard
deviation grows with the square root of the receiver bandwidth.
"""

import torch
from torch import Tensor

from jrsr_core.arrays import Array, as_samples
from jrsr_core.tensors import is_finite

from .settings import MIN_NOISE_SAMPLES

DEAD_CHANNEL = 1e-12
"""A channel whose noise power is below this fraction of the strongest one is dead."""

OWN_NOISE = 1e-6
"""Share of its noise power that a channel has to have for itself; the rows of W are limited to
1000 times what they are without correlation. Copies have 1e-14 (rounding of single precision), two
coils at one place 1e-2."""


def noise_covariance(noise: Tensor) -> Tensor:
    """Return Psi = N N^H / n_samples, complex128 ``(coil, coil)``, of noise ``(coil, samples)``."""
    n = noise.to(torch.complex128)
    return n @ n.mH / n.shape[-1]


def whitening_matrix(noise: Array) -> Tensor:
    """Return W with W Psi W^H = I.

    Parameters
    ----------
    noise
        complex ``(coil, samples)``, samples without signal.

    Returns
    -------
    Tensor
        complex64 ``(coil, coil)``, lower triangular. A dead channel (no noise power: a broken or
        unplugged coil) and one that depends on those before it get a row and a column of zeros, so
        that they contribute nothing; see `unused_channels`.

    Raises
    ------
    ValueError
        Too few samples for the number of coils, non-finite samples, or no live channel.
    """
    noise = as_samples(noise, "noise", ("coil", "samples"))
    n_coils, n_samples = noise.shape
    if n_samples < MIN_NOISE_SAMPLES * n_coils:
        raise ValueError(
            f"noise has {n_samples} samples, {n_coils} coils need "
            f"at least {MIN_NOISE_SAMPLES * n_coils}"
        )
    if not is_finite(noise):
        raise ValueError("noise has samples that are not finite")
    covariance = noise_covariance(noise)
    live = ~is_dead(covariance)
    if not live.any():
        raise ValueError(f"noise is zero in all {n_coils} coils")
    index = torch.tensor(independent_channels(covariance, live.nonzero().flatten().tolist()))
    factor = torch.linalg.cholesky(covariance[index[:, None], index])
    identity = torch.eye(factor.shape[0], dtype=factor.dtype, device=factor.device)
    matrix = torch.zeros_like(covariance)
    matrix[index[:, None], index] = torch.linalg.solve_triangular(factor, identity, upper=False)
    return matrix.to(torch.complex64)


def independent_channels(
    covariance: Tensor, channels: list[int], least: float = OWN_NOISE
) -> list[int]:
    """Return the channels that are not explained by the channels before them.

    Each of them has more than `least` of its power for itself.
    """
    level = covariance.diagonal().real.clamp_min(torch.finfo(torch.float64).tiny).sqrt()
    correlation = covariance / (level[:, None] * level)
    kept: list[int] = []
    # Rows of the Cholesky factor of the kept channels, over all channels.
    rows = torch.zeros((0, len(level)), dtype=correlation.dtype, device=correlation.device)
    for channel in channels:
        rest = correlation[channel] - rows[:, channel].conj() @ rows
        own = float(rest[channel].real)
        if own > least:
            kept.append(channel)
            rows = torch.cat([rows, (rest / own**0.5)[None]])
    return kept


def unused_channels(matrix: Tensor) -> list[int]:
    """Return the channels to which a whitening matrix gives no weight."""
    return [int(i) for i in (matrix.abs().sum(-1) == 0).nonzero().flatten()]


def whiten(matrix: Tensor, kspace: Tensor) -> Tensor:
    """Apply W along the coil axis of ``(..., coil, ky, kx)`` or of ``(coil, samples)``."""
    coil_axis = 0 if kspace.ndim == 2 else kspace.ndim - 3
    n_coils = kspace.shape[coil_axis]
    if matrix.shape[-1] != n_coils:
        raise ValueError(f"whitening matrix is for {matrix.shape[-1]} coils, kspace has {n_coils}")
    flat = kspace.movedim(coil_axis, -1) @ matrix.mT.to(kspace.dtype)
    return flat.movedim(-1, coil_axis)


def is_dead(covariance: Tensor) -> Tensor:
    """Return which channels have no power, bool ``(coil,)``."""
    power = covariance.diagonal().real
    return power <= DEAD_CHANNEL * power.max()
