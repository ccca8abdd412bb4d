"""Made objects: magnitudes without any anatomy, so that networks do not learn that of brains.

    leaves      opaque discs and ellipses of all sizes, p(r) ~ r^-3, one over the other
    ellipses    a body with a bright rim, organs, bones and vessels, each with its texture
    lines       thin curves and gratings on a textured ground
    bent        the image itself, bent, mirrored and put together anew
    scalp       the image itself in a shell of thin layers, see `scalp`

Networks trained on dead leaves alone come close to those of natural images (Achddou, Gousseau and
Ladjal, SIAM J. Imaging Sci. 2023).
"""

import math

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from jrsr_core.physics.resolution import Shape
from jrsr_core.simulation.fields import smooth_noise, uniform

from .drawing import FINE, averaged, body, draw_curves, draw_ellipse, texture
from .scalp import with_scalp

MOST_LEAVES = 6000
IMAGE = "image"
"""The slice itself, among the kinds of objects."""


def make_object(kind: str, image: Tensor, shape: Shape, generator: Generator) -> Tensor:
    """Return an object of a kind of `OBJECTS`, its maximum 1, float32 ``(y, x)``.

    Those of `MADE_OF_IMAGE` have a size of their own; all others have size `shape`.
    """
    if kind == "bent":
        return _unit(bent(image, generator))
    rng = np.random.default_rng(int(torch.randint(0, 2**31 - 1, (), generator=generator)))
    if kind == "scalp":
        return _unit(with_scalp(image, rng))
    fine = (FINE * shape[0], FINE * shape[1])
    canvas = DRAWN[kind](fine, rng)
    if kind != "lines" and rng.random() < 0.4:
        inside = canvas > 0
        draw_curves(canvas, rng, int(rng.integers(3, 30)))
        canvas *= inside
    return _unit(averaged(canvas).clamp_min(0.0))


def _unit(image: Tensor) -> Tensor:
    return image / image.max().clamp_min(1e-6)


def leaves(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Return dead leaves in a body, or all over the field of view."""
    ny, nx = shape
    grain = [texture(shape, rng) for _ in range(2)]
    canvas = np.full(shape, rng.uniform(0.1, 0.6))
    smallest, largest = rng.uniform(1.5, 4.0), 0.35 * min(shape)
    count = ny * nx / (math.pi * 2 * smallest**2 * math.log(largest / smallest))
    n = min(round(rng.uniform(0.7, 1.8) * count), MOST_LEAVES)
    # p(r) ~ r^-3 by its inverse distribution function.
    u = rng.random(n)
    radii = (largest**-2 + u * (smallest**-2 - largest**-2)) ** -0.5
    for radius in radii:
        grey = rng.beta(1.2, 1.6)
        aspect = rng.uniform(0.35, 1.0)
        value: np.ndarray | float = grey
        if radius > 12:
            value = grey * (1 + rng.uniform(0, 0.25) * grain[int(rng.integers(2))])
        middle = (rng.uniform(0, ny), rng.uniform(0, nx))
        draw_ellipse(canvas, middle, (radius, aspect * radius), rng.uniform(0, math.pi), value)
    if rng.random() < 0.75:
        canvas *= body(shape, rng) <= 1
    return canvas


def ellipses(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Return a body with a bright rim and up to 40 textured ellipses in it."""
    ny, nx = shape
    distance, grain = body(shape, rng), texture(shape, rng)
    canvas = rng.uniform(0.2, 0.7) * (1 + rng.uniform(0, 0.2) * grain)
    for _ in range(int(rng.integers(6, 40))):
        size = rng.uniform(0.01, 0.3) * min(shape)
        angle, radius = rng.uniform(0, 6.28), rng.uniform(0, 0.45)
        middle = (ny * (0.5 + radius * math.cos(angle)), nx * (0.5 + radius * math.sin(angle)))
        grey = rng.choice([rng.uniform(0, 0.08), rng.uniform(0.1, 1.0)], p=[0.2, 0.8])
        value = grey * (1 + rng.uniform(0, 0.3) * grain)
        draw_ellipse(
            canvas, middle, (size, size * rng.uniform(0.3, 1)), rng.uniform(0, 3.14), value
        )
    rim = 1 - rng.uniform(0.02, 0.2)
    fat = rng.uniform(0.6, 1.2) * (1 + rng.uniform(0, 0.1) * grain)
    return np.where(distance > rim, fat, canvas) * (distance <= 1)


def lines(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Return a body of smooth texture with many thin curves and a few gratings."""
    ny, nx = shape
    grain = texture(shape, rng)
    canvas = rng.uniform(0.15, 0.6) * (1 + rng.uniform(0.05, 0.3) * grain)
    for _ in range(int(rng.integers(0, 5))):
        size = rng.uniform(0.05, 0.2) * min(shape)
        middle = (rng.uniform(0.15, 0.85) * ny, rng.uniform(0.15, 0.85) * nx)
        y, x = np.ogrid[:ny, :nx]
        angle, period = rng.uniform(0, 3.14), FINE * rng.uniform(2.0, 10.0)
        wave = np.sin(6.283 / period * (y * math.cos(angle) + x * math.sin(angle))) > 0
        value = np.where(wave, rng.uniform(0.4, 1.0), rng.uniform(0.0, 0.4))
        draw_ellipse(canvas, middle, (size, size), 0.0, value)
    draw_curves(canvas, rng, int(rng.integers(20, 120)))
    return canvas * (body(shape, rng) <= 1)


def bent(image: Tensor, generator: Generator) -> Tensor:
    """Return the image bent by a smooth field; in a third of the draws four mirrored pieces of it.

    The pieces make an image of up to twice the size that is no head any more.
    """
    shape: Shape = (image.shape[0], image.shape[1])
    strength = uniform(0.02, 0.12, generator)
    steps = [torch.linspace(-1, 1, n) for n in shape]
    y, x = torch.meshgrid(*steps, indexing="ij")
    y = y + strength * smooth_noise(shape, 5, generator)
    x = x + strength * smooth_noise(shape, 5, generator)
    grid = torch.stack((x, y), -1)[None]
    moved = functional.grid_sample(image[None, None], grid, "bicubic", "zeros", align_corners=True)[
        0, 0
    ].clamp_min(0.0)
    if torch.rand((), generator=generator) > 1 / 3:
        return moved
    cut = [int(n * uniform(0.0, 0.4, generator)) for n in shape]
    piece = moved[cut[0] :, cut[1] :]
    row = torch.cat((piece.flip(1), piece), 1)
    return torch.cat((row.flip(0), row), 0)


DRAWN = {"leaves": leaves, "ellipses": ellipses, "lines": lines}
MADE_OF_IMAGE = ("bent", "scalp")
OBJECTS = (IMAGE, *DRAWN, *MADE_OF_IMAGE)
