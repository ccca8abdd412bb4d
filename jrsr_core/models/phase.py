"""Smooth phase of an image, on its own grid and on a finer one.

    p = l / |l|,   l = F^H (w F x),   w a Hann window over the central part of k-space

Coils and field put a smooth phase on the object; without it the SR module sees an almost real
image whatever the coils do (homodyne detection: Noll et al., TMI 1991).
"""

import math

import torch
from torch import Tensor

from jrsr_core.physics.fourier import filter_kspace
from jrsr_core.physics.resolution import sinc_interpolate

WIDTH = 24  # samples per axis: what every ACS holds


def _hann(n: int, width: int, device: torch.device) -> Tensor:
    offset = torch.arange(n, device=device) - n // 2
    window = 0.5 + 0.5 * torch.cos(2 * math.pi * offset / width)
    return window * (offset.abs() < width / 2)


def _unit(x: Tensor) -> Tensor:
    magnitude = x.abs()
    tiny = 1e-8 * magnitude.amax((-2, -1), keepdim=True) + torch.finfo(magnitude.dtype).tiny
    return torch.where(magnitude > tiny, x / magnitude.clamp_min(tiny), torch.ones_like(x))


def smooth_phase(image: Tensor, hr_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return p of modulus 1 on the grid of `image` ``(batch, y, x)`` and on `hr_shape`.

    Treated as given: no gradient goes through the phase.
    """
    image = image.detach()
    windows = (_hann(n, min(WIDTH, n), image.device) for n in image.shape[-2:])
    window = torch.outer(*windows)
    smooth = filter_kspace(image, window)
    return _unit(smooth), _unit(sinc_interpolate(smooth, hr_shape))
