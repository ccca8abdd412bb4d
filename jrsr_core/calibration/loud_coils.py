"""Coils whose noise is far above that of the others, in arrays and scans without noise lines.

Without a noise covariance all coils count as equally noisy, and a broken element, or a receiver of
another gain, dominates compression and maps. Where the ACS shows such a coil, it is divided by its
noise over that of the others: a diagonal whitening that leaves the other coils, and with them the
scale of the image, as they are.

Two upper bounds of the noise power of coil c, of which the smaller is taken, since signal raises
either:

    conditional variance    what the other samples of a window of all coils, which explain the
                            signal but not the noise, leave of a sample of coil c (`windows`),
    |a|^2 / ln 2            the median over the ends of the readout.

Ours. Coils of equal noise are within a factor of 2 of their median (2 to 32 coils, 10 to 60 dB, 24
lines); of 25 times the noise 16 to 25 are found with 8 coils and more, less with fewer: signal that
is not explained raises the others.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import torch
from torch import Tensor

from jrsr_core.acs import MAX_LINES
from jrsr_core.data import KSpaceSlice, KSpaceVolume
from jrsr_core.physics.fourier import fft
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.tensors import is_finite

from .noise import OUTER
from .windows import conditional_variance, kernel_width, window_covariance

LOUD = 3.0
"""Noise of a coil over the median of those that have noise, above which it gets less weight."""

SHARE = 1e-2
"""Of the power of a coil in the ACS: where its noise is less, nothing is lost by it. What is left
of a scan without noise is rounding, and no measure of a coil."""


def coil_weights(acs: Tensor) -> Tensor | None:
    """Return the factor of every coil, float32 ``(coil,)``, 1 for most; None where all are 1.

    `acs` is complex ``(coil, ay, ax)``. An ACS that is too small shows no loud coil, and neither
    does one whose readout has no ends, such as one readout position.
    """
    n_coils, ny, nx = acs.shape
    if (
        n_coils < 2
        or not _is_outer(nx).any()
        or not acs.numel()
        or not is_finite(acs)
        or not bool(acs.any())
    ):
        return None
    acs = crop_or_pad(acs, (min(ny, MAX_LINES), nx)).cpu()
    shape = (n_coils, acs.shape[-2], nx)
    try:
        width = kernel_width(shape)
    except ValueError:
        return None
    acs = acs / acs.abs().amax()
    left = conditional_variance(window_covariance(acs, width), shape, width)
    noise = torch.minimum(left, _outer_power(acs))
    if not bool((noise > 0).any()):
        return None
    ratio = (noise / noise[noise > 0].median()).sqrt()
    is_loud = (ratio > LOUD) & (noise > SHARE * acs.abs().square().mean((1, 2)))
    if not bool(is_loud.any()):
        return None
    return torch.where(is_loud, 1 / ratio, torch.ones_like(ratio)).to(torch.float32)


def weighted(kspace: Tensor, weights: Tensor | None) -> Tensor:
    """Return k-space ``(coil, ...)`` times the weights of its coils, None for 1."""
    return kspace if weights is None else weights.reshape(-1, *(1,) * (kspace.ndim - 1)) * kspace


def loud_note(channels: Sequence[int], weights: Sequence[float]) -> str:
    """Return the note about channels whose noise is far above that of the others."""
    loud = [(c, 1 / w) for c, w in zip(channels, weights, strict=True) if w < 1]
    found = ", ".join(f"{c} ({ratio:.0f} times)" for c, ratio in loud)
    return f"channels far noisier than the others are given less weight: {found}"


@overload
def with_weighted_coils(data: KSpaceSlice) -> KSpaceSlice: ...
@overload
def with_weighted_coils(data: KSpaceVolume) -> KSpaceVolume: ...
def with_weighted_coils(data: KSpaceSlice | KSpaceVolume) -> KSpaceSlice | KSpaceVolume:
    """Return arrays with the weights of their coils, and a note on loud ones.

    A stated noise level is one number for all coils, and becomes that of the loud ones as well.
    Data that were assembled from the lines of a scan stay as they are.
    """
    if data.is_assembled:
        return data
    acs = data.acs if isinstance(data, KSpaceSlice) else _central_partition(data.acs)
    weights = coil_weights(acs)
    if weights is None:
        return data
    notes = (*data.notes, loud_note(range(len(weights)), weights.tolist()))
    if isinstance(data, KSpaceSlice):
        kspace, acs = (weighted(x, weights.to(x.device)) for x in (data.kspace, data.acs))
        return replace(data, kspace=kspace, acs=acs, notes=notes)
    of_coils = weights[:, None, None].to(data.hybrid.device)
    return replace(data, hybrid=of_coils * data.hybrid, acs=of_coils * data.acs, notes=notes)


def _central_partition(acs: Tensor) -> Tensor:
    """Return ``(coil, ay, kx)`` of an ACS ``(x, coil, ay, az)`` in hybrid space."""
    return fft(acs[..., acs.shape[-1] // 2].movedim(0, -1), -1)


def _outer_power(acs: Tensor) -> Tensor:
    """Return the power at the ends of the readout, as that of noise, float64 ``(coil,)``."""
    power = acs[..., _is_outer(acs.shape[-1])].abs().double().square().flatten(1)
    return power.median(1).values / math.log(2)


def _is_outer(nx: int) -> Tensor:
    """Return which of `nx` samples are the ends of a readout."""
    return (torch.arange(nx) - nx // 2).abs() * 2 / nx > OUTER
