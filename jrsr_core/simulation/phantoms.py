"""Analytic phantoms: sums of ellipses, with fine detail and a resolution chart.

    m(r) = sum_e a_e [ |R(theta_e)(r - c_e) / s_e| <= 1 ]   in units of half the field of view,

rendered on any grid by averaging `OVERSAMPLING`^2 points per pixel. The head is a variation of the
phantom of Shepp and Logan (IEEE Trans Nucl Sci 1974;21:21) with the soft contrasts of Toft (The
Radon transform, PhD thesis, Technical University of Denmark 1996).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

OVERSAMPLING = 4


@dataclass(frozen=True)
class Ellipse:
    """Amplitude, centre (y, x), half axes (y, x) in half fields of view, rotation in degrees."""

    amplitude: float
    center: tuple[float, float]
    half_axes: tuple[float, float]
    degrees: float = 0.0


HEAD = (
    Ellipse(1.00, (0.0, 0.0), (0.88, 0.70)),
    Ellipse(-0.75, (0.0, 0.0), (0.83, 0.655)),
    Ellipse(0.30, (0.0, 0.0), (0.80, 0.63)),
    Ellipse(0.15, (0.05, 0.0), (0.62, 0.50)),
    Ellipse(-0.42, (0.05, 0.17), (0.26, 0.085), 14.0),
    Ellipse(-0.42, (0.05, -0.17), (0.30, 0.10), -14.0),
    Ellipse(0.20, (-0.34, 0.0), (0.16, 0.20)),
    Ellipse(0.25, (-0.30, 0.33), (0.045, 0.045)),
    Ellipse(-0.20, (-0.46, -0.28), (0.05, 0.035), 30.0),
    Ellipse(0.30, (0.60, -0.08), (0.022, 0.045)),
    Ellipse(0.30, (0.60, 0.06), (0.045, 0.022)),
    Ellipse(0.25, (0.60, 0.0), (0.02, 0.02)),
)


def _coordinates(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Sub-pixel positions (y, x) in half fields of view; pixel n//2 is centred on 0."""
    axes = []
    for n in shape:
        fine = (torch.arange(n * OVERSAMPLING, dtype=torch.float64) + 0.5) / OVERSAMPLING - 0.5
        axes.append((fine - n // 2) / (n / 2))
    y, x = torch.meshgrid(*axes, indexing="ij")
    return y, x


def _average_pixels(fine: Tensor) -> Tensor:
    k = OVERSAMPLING
    return fine.unflatten(-1, (-1, k)).unflatten(0, (-1, k)).mean((1, 3))


def render_ellipses(ellipses: tuple[Ellipse, ...], shape: tuple[int, int]) -> Tensor:
    """Return the sum of ellipses on the grid `shape`, float32 ``(y, x)``."""
    y, x = _coordinates(shape)
    image = torch.zeros_like(y)
    for e in ellipses:
        angle = math.radians(e.degrees)
        dy, dx = y - e.center[0], x - e.center[1]
        v = (math.cos(angle) * dy + math.sin(angle) * dx) / e.half_axes[0]
        u = (math.cos(angle) * dx - math.sin(angle) * dy) / e.half_axes[1]
        image += e.amplitude * (u * u + v * v <= 1)
    return _average_pixels(image).to(torch.float32)


def resolution_chart(shape: tuple[int, int]) -> Tensor:
    """Return groups of three bars with periods from 8 to 2.5 HR pixels, float32 ``(y, x)``.

    A group with a period below four HR pixels lies beyond the band limit of a twofold coarser
    scan, so only a prior can draw it.
    """
    y, x = _coordinates(shape)
    y, x = y * shape[0] / 2, x * shape[1] / 2  # in HR pixels
    image = torch.zeros_like(y)
    left = -0.38 * shape[1] / 2
    for period in (8, 6, 5, 4, 3, 2.5):
        width = 2.5 * period
        inside = (x >= left) & (x < left + width) & ((y - 0.30 * shape[0] / 2).abs() < 1.5 * period)
        image += inside * (torch.remainder(x - left, period) < period / 2)
        left += width + 5
    return _average_pixels(image).to(torch.float32)


def brain_phantom(shape: tuple[int, int] = (232, 256)) -> Tensor:
    """Return a head with a resolution chart in its lower half, float32 ``(y, x)`` in [0, 1]."""
    head = render_ellipses(HEAD, shape) + 0.30 * resolution_chart(shape)
    return head.clamp(0.0, 1.0)
