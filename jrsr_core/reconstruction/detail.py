"""How much unmeasured detail an image may have at a place, judged by its measured detail there.

The detail of images falls off smoothly with frequency and stands where edges are: what lies beyond
the measured part of k-space has about the local strength of its outer part (Field, J. Opt. Soc. Am.
A 1987: equal energy per octave). With u the unmeasured part of an image x, D x its outer measured
band and G a Gaussian window,

    R(v) = sqrt(G * |v|^2),    excess = sqrt(max(R(u)^2 - (ALLOWED R(D x))^2, 0))

All complex ``(batch, y, x)``, in image units.
"""

import math

import torch
from torch import Tensor

from jrsr_core.physics.fourier import filter_kspace
from jrsr_core.physics.resolution import Shape

ALLOWED = 2.5
"""Times the measured detail: inside the object of true images R(u) / R(D x) has the median 1.2 and
is above 2.5 at one place in twenty (16 validation slices of brain-5x)."""

SIGMA = 1.5
"""Width of the window in HR pixels."""

INNER = 0.4
"""The outer band begins at this part of the measured extent of k-space."""


def excess_detail(unmeasured: Tensor, image: Tensor, measured: Shape) -> Tensor:
    """Return where `unmeasured` is stronger than the measured detail of `image` allows, float32.

    `measured` is the extent ``(ky, kx)`` of the acquired grid.
    """
    allowed = ALLOWED**2 * _local_power(outer_band(image, measured))
    return (_local_power(unmeasured) - allowed).clamp_min(0.0).sqrt()


def outer_band(image: Tensor, measured: Shape) -> Tensor:
    """Return the part of an image from `INNER` of the measured extent of k-space to its end."""
    shape = (image.shape[-2], image.shape[-1])
    y, x = (_offset(n).abs() * 2 / m for n, m in zip(shape, measured, strict=True))
    radius = torch.maximum(y[:, None], x[None, :]).to(image.device)
    return filter_kspace(image, ((radius > INNER) & (radius <= 1)).to(torch.float32))


def _local_power(image: Tensor) -> Tensor:
    """G * |image|^2."""
    y, x = (_gaussian(n) for n in image.shape[-2:])
    transfer = torch.outer(y, x).to(image.device)
    power = image.abs().square().to(torch.complex64)
    return filter_kspace(power, transfer).real.clamp_min(0.0)


def _gaussian(n: int) -> Tensor:
    """Fourier transform of the window along an axis of n pixels."""
    return torch.exp(-2 * (math.pi * SIGMA * _offset(n) / n).square())


def _offset(n: int) -> Tensor:
    return (torch.arange(n) - n // 2).to(torch.float32)
