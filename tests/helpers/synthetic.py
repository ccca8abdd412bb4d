"""A small scanner for the tests, independent of `jrsr_core.simulation`."""

import math

import torch
from torch import Tensor

from jrsr_core.physics.fourier import fft2c

Shape = tuple[int, int]


def grid(shape: Shape) -> tuple[Tensor, Tensor]:
    """Positions y, x in units of the field of view; 0 at n//2."""
    axes = [(torch.arange(n) - n // 2) / n for n in shape]
    return tuple(torch.meshgrid(*axes, indexing="ij"))


def coil_profiles(n_coils: int, shape: Shape, seed: int = 0) -> Tensor:
    """Gaussian profiles centred on a ring around the object, with linear phases."""
    generator = torch.Generator().manual_seed(seed)
    y, x = grid(shape)
    profiles = []
    for c in range(n_coils):
        angle = 2 * math.pi * c / n_coils
        r = torch.rand(4, generator=generator)
        width = 0.35 + 0.1 * r[0]
        d2 = (y - 0.6 * math.sin(angle)) ** 2 + (x - 0.6 * math.cos(angle)) ** 2
        phase = 6 * r[1] + 4 * (r[2] - 0.5) * y + 4 * (r[3] - 0.5) * x
        profiles.append(torch.polar(torch.exp(-d2 / (2 * width**2)), phase))
    return torch.stack(profiles)


def unit_norm(profiles: Tensor) -> Tensor:
    """Divide by the root sum of squares over the coils."""
    return profiles / profiles.abs().square().sum(-3, keepdim=True).sqrt()


def phantom(shape: Shape, radii: tuple[float, float] = (0.42, 0.36)) -> tuple[Tensor, Tensor]:
    """Textured ellipse with a smooth phase; the image and the support of the object."""
    y, x = grid(shape)
    inside = (y / radii[0]) ** 2 + (x / radii[1]) ** 2 < 1
    texture = 1 + 0.4 * torch.sin(31 * y) * torch.cos(25 * x)
    texture = texture + 0.5 * ((y - 0.1) ** 2 + x**2 < 0.01)
    return torch.polar(inside * texture, 2 * y + 4 * x * x), inside


def noise_like(kspace: Tensor, std: float, seed: int = 1) -> Tensor:
    """Complex white noise with E|n|^2 = std^2."""
    generator = torch.Generator().manual_seed(seed)
    return std * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)


def scan(n_coils: int, shape: Shape, snr_db: float = 50.0, seed: int = 0) -> tuple[Tensor, ...]:
    """Return noisy k-space, true unit-norm maps, support, and the noise standard deviation."""
    profiles = coil_profiles(n_coils, shape, seed)
    image, inside = phantom(shape)
    kspace = fft2c(profiles * image)
    std = float(kspace.abs().square().mean().sqrt()) * 10 ** (-snr_db / 20)
    return kspace + noise_like(kspace, std), unit_norm(profiles), inside, std


def line_mask(shape: Shape, acceleration: float, n_acs: int = 24, seed: int = 0) -> Tensor:
    """Random readout lines around a full centre."""
    ny, nx = shape
    lines = torch.zeros(ny)
    start = ny // 2 - n_acs // 2
    lines[start : start + n_acs] = 1
    n_more = max(0, round(ny / acceleration) - n_acs)
    outside = (lines == 0).nonzero().flatten()
    order = torch.randperm(len(outside), generator=torch.Generator().manual_seed(seed))
    lines[outside[order[:n_more]]] = 1
    return lines[:, None].repeat(1, nx)
