"""Random fields over the image: smooth phase, phase of tissues, intensity bias.

Positions are in units of half the field of view, so that the smoothness of a field, a low-order
polynomial plus band-limited Gaussian noise, does not depend on the matrix.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional


def unit_grid(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the positions y and x of all pixels, 0 at pixel ``n//2``; float32 ``(y, x)`` each."""
    axes = [(torch.arange(n, dtype=torch.float32) - n // 2) / (n / 2) for n in shape]
    y, x = torch.meshgrid(*axes, indexing="ij")
    return y, x


def uniform(low: float, high: float, generator: Generator) -> float:
    """Return one number drawn uniformly from [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def smooth_noise(shape: tuple[int, int], n_modes: int, generator: Generator) -> Tensor:
    """Return noise of unit variance with `n_modes` cosines per axis, float32 ``(y, x)``."""
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
    """Return exp(i phi), complex64 ``(y, x)``, with a smooth random phi.

    phi has a linear part (echo shift), a quadratic part (shim) and a smooth field. A `strength` of
    1 spans about +-pi over the field of view, as in a gradient echo at 3 T.
    """
    y, x = unit_grid(shape)
    a, b, c, d, e, offset = (uniform(-1.0, 1.0, generator) for _ in range(6))
    polynomial = 1.5 * (a * y + b * x) + c * y * y + d * x * x + e * x * y
    phase = strength * (polynomial + 0.5 * smooth_noise(shape, 6, generator)) + torch.pi * offset
    return torch.polar(torch.ones_like(phase), phase)


def object_mask(image: Tensor) -> Tensor:
    """Return where a magnitude ``(y, x)`` is above the level of air, boolean."""
    return image > 0.06 * image.max()


def outer_rim(image: Tensor, depth: int) -> Tensor:
    """Return 1 up to `depth` pixels inside the outline of an object, else 0; float32 ``(y, x)``."""

    def grow(mask: Tensor, by: int) -> Tensor:
        return functional.max_pool2d(mask[None], 2 * by + 1, 1, by)[0]

    def shrink(mask: Tensor, by: int) -> Tensor:
        return -grow(-mask, by)

    # Dark tissue inside does not count as outside.
    closed = shrink(grow(object_mask(image).to(torch.float32), depth), depth)
    return closed - shrink(closed, depth)


def tissue_phase(image: Tensor, generator: Generator) -> Tensor:
    """Return exp(i phi), complex64 ``(y, x)``, where phi jumps from tissue to tissue.

        phi = d s((m - t) / w) r + e

    with the logistic function s and the magnitude m, `image`. Fat is bright, lies in the rim r
    under the skin and, by its chemical shift, differs from water by a phase d between -pi and pi
    that depends on the echo time (Dixon, Radiology 1984;153:189); e is a field of finer structure,
    as near air. Half of the draws have r = 1: the phase of everything brighter than t is shifted.
    """
    shape = (image.shape[0], image.shape[1])
    level = image / torch.quantile(image, 0.98).clamp_min(1e-6)
    width, threshold = uniform(0.02, 0.1, generator), uniform(0.3, 0.9, generator)
    fat = torch.sigmoid((level - threshold) / width)
    if torch.rand((), generator=generator) < 0.5:
        fat = fat * outer_rim(image, max(2, round(uniform(0.02, 0.08, generator) * max(shape))))
    phase = torch.pi * uniform(-1.0, 1.0, generator) * fat
    phase = phase + uniform(0.0, 0.4, generator) * smooth_noise(shape, 20, generator)
    return torch.polar(torch.ones_like(phase), phase)


def random_bias(shape: tuple[int, int], generator: Generator) -> Tensor:
    """Return the smooth positive intensity bias exp(0.3 field), float32 ``(y, x)``."""
    return torch.exp(0.3 * smooth_noise(shape, 3, generator).clamp(-2.5, 2.5))
