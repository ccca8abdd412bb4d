"""Smooth random fields over the image: phase of the object, intensity bias.

A field is a low-order polynomial plus band-limited Gaussian noise, in units of half the field of
view, so its smoothness does not depend on the matrix.
"""

import torch
from torch import Generator, Tensor


def unit_grid(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Positions (y, x) in half fields of view, 0 at pixel ``n//2``; float32 ``(y, x)`` each."""
    axes = [(torch.arange(n, dtype=torch.float32) - n // 2) / (n / 2) for n in shape]
    y, x = torch.meshgrid(*axes, indexing="ij")
    return y, x


def uniform(low: float, high: float, generator: Generator) -> float:
    """One draw from [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def smooth_noise(shape: tuple[int, int], n_modes: int, generator: Generator) -> Tensor:
    """Real band-limited noise with `n_modes` cosines per axis, unit variance, ``(y, x)``."""
    y, x = unit_grid(shape)
    order = torch.arange(n_modes, dtype=torch.float32)
    weights = torch.randn((n_modes, n_modes), generator=generator)
    weights = weights / (1 + order[:, None] + order[None, :])
    weights[0, 0] = 0.0
    modes_y = torch.cos(torch.pi / 2 * order[:, None] * (y[:, 0] + 1))
    modes_x = torch.cos(torch.pi / 2 * order[:, None] * (x[0] + 1))
    field = torch.einsum("pq,py,qx->yx", weights, modes_y, modes_x)
    return field / field.std().clamp_min(1e-6)


def random_phase(shape: tuple[int, int], generator: Generator, strength: float = 1.0) -> Tensor:
    """exp(i phi), complex64 ``(y, x)``: linear (echo shift), quadratic (shim), smooth field.

    `strength` 1 spans about +-pi over the field of view, what a gradient echo at 3 T shows.
    """
    y, x = unit_grid(shape)
    a, b, c, d, e, offset = (uniform(-1.0, 1.0, generator) for _ in range(6))
    polynomial = 1.5 * (a * y + b * x) + c * y * y + d * x * x + e * x * y
    phase = strength * (polynomial + 0.5 * smooth_noise(shape, 6, generator)) + torch.pi * offset
    return torch.polar(torch.ones_like(phase), phase)


def random_bias(shape: tuple[int, int], generator: Generator, strength: float = 0.3) -> Tensor:
    """Smooth positive intensity bias exp(strength * field), float32 ``(y, x)``."""
    return torch.exp(strength * smooth_noise(shape, 3, generator).clamp(-2.5, 2.5))
