"""Made objects: magnitudes without any anatomy, so that networks do not learn that of brains.

    leaves      opaque discs and ellipses of all sizes, p(r) ~ r^-3, one over the other
    ellipses    a body with a bright rim, organs, bones and vessels, each with its texture
    lines       thin curves and gratings on a textured ground
    bent        the image itself, bent, mirrored and put together anew

Networks trained on dead leaves alone come close to those of natural images (Achddou, Gousseau and
Ladjal, SIAM J. Imaging Sci. 2023). Objects are drawn with `FINE`^2 points per pixel and averaged,
so that edges have their partial volume.
"""

import math

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from jrsr_core.physics.fourier import filter_kspace
from jrsr_core.physics.resolution import Shape
from jrsr_core.simulation.fields import smooth_noise, uniform

FINE = 2
MOST_LEAVES = 6000
IMAGE = "image"
"""The slice itself, among the kinds of objects."""


def make_object(kind: str, image: Tensor, shape: Shape, generator: Generator) -> Tensor:
    """Return an object of a kind of `OBJECTS`, its maximum 1, float32 ``(y, x)``.

    `bent` is made of `image` and has a size of its own; all others have size `shape`.
    """
    if kind == "bent":
        return _unit(bent(image, generator))
    rng = np.random.default_rng(int(torch.randint(0, 2**31 - 1, (), generator=generator)))
    fine = (FINE * shape[0], FINE * shape[1])
    canvas = DRAWN[kind](fine, rng)
    if kind != "lines" and rng.random() < 0.4:
        inside = canvas > 0
        draw_curves(canvas, rng, int(rng.integers(3, 30)))
        canvas *= inside
    drawn = canvas.reshape(shape[0], FINE, shape[1], FINE).mean((1, 3))
    return _unit(torch.from_numpy(drawn).to(torch.float32).clamp_min(0.0))


def _unit(image: Tensor) -> Tensor:
    return image / image.max().clamp_min(1e-6)


def texture(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Return noise with a power-law spectrum, of zero mean and unit variance."""
    noise = torch.from_numpy(rng.standard_normal(shape)).to(torch.complex64)
    y, x = (torch.arange(n) - n // 2 for n in shape)
    radius = (y[:, None] ** 2 + x[None, :] ** 2).sqrt()
    filtered = filter_kspace(noise, (radius + 4) ** -rng.uniform(0.8, 1.8)).real
    filtered = filtered - filtered.mean()
    return (filtered / filtered.std()).numpy()


def body(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Return the distance from the middle of a random outline, 1 on it; float64 ``(y, x)``.

    The body takes 0.55 to 1 of the field of view along either axis.
    """
    ny, nx = shape
    y, x = np.ogrid[:ny, :nx]
    y = (y - ny / 2) / (ny / 2 * rng.uniform(0.55, 1.0))
    x = (x - nx / 2) / (nx / 2 * rng.uniform(0.55, 1.0))
    angle, outline = np.arctan2(y, x), np.ones(shape)
    for k in range(2, 6):
        outline = outline + rng.normal(0, 0.08 / k) * np.cos(k * angle + rng.uniform(0, 6.28))
    power = rng.uniform(1.8, 3.0)
    return (np.abs(y) ** power + np.abs(x) ** power) ** (1 / power) / outline


def _ellipse(
    canvas: np.ndarray,
    middle: tuple[float, float],
    axes: tuple[float, float],
    angle: float,
    value: np.ndarray | float,
) -> None:
    """Paint an ellipse; `value` is one grey level, or an array of the size of the canvas."""
    ny, nx = canvas.shape
    reach = max(axes)
    y0, y1 = max(int(middle[0] - reach), 0), min(int(middle[0] + reach) + 2, ny)
    x0, x1 = max(int(middle[1] - reach), 0), min(int(middle[1] + reach) + 2, nx)
    if y0 >= y1 or x0 >= x1:
        return
    y, x = np.ogrid[y0 - middle[0] : y1 - middle[0], x0 - middle[1] : x1 - middle[1]]
    c, s = math.cos(angle), math.sin(angle)
    inside = ((c * y + s * x) / axes[0]) ** 2 + ((c * x - s * y) / axes[1]) ** 2 <= 1
    window = canvas[y0:y1, x0:x1]
    source = value[y0:y1, x0:x1] if isinstance(value, np.ndarray) else value
    np.copyto(window, source, where=inside)


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
        _ellipse(canvas, middle, (radius, aspect * radius), rng.uniform(0, math.pi), value)
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
        _ellipse(canvas, middle, (size, size * rng.uniform(0.3, 1)), rng.uniform(0, 3.14), value)
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
        _ellipse(canvas, middle, (size, size), 0.0, value)
    draw_curves(canvas, rng, int(rng.integers(20, 120)))
    return canvas * (body(shape, rng) <= 1)


def draw_curves(canvas: np.ndarray, rng: np.random.Generator, n: int) -> None:
    """Paint `n` curves of 0.5 to 3 pixels in width, brighter or darker than the ground."""
    ny, nx = canvas.shape
    for _ in range(n):
        length = int(rng.uniform(0.1, 1.5) * min(ny, nx))
        turns = np.cumsum(rng.normal(0, rng.uniform(0.005, 0.08), length)) + rng.uniform(0, 6.28)
        y = rng.uniform(0, ny) + np.cumsum(0.7 * np.cos(turns))
        x = rng.uniform(0, nx) + np.cumsum(0.7 * np.sin(turns))
        reach = FINE * rng.uniform(0.25, 1.5)
        grid = np.arange(-math.ceil(reach), math.ceil(reach) + 1)
        dy, dx = (d.ravel() for d in np.meshgrid(grid, grid, indexing="ij"))
        near = dy**2 + dx**2 <= reach**2
        rows = (y.round().astype(int)[:, None] + dy[near]).ravel()
        columns = (x.round().astype(int)[:, None] + dx[near]).ravel()
        inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
        grey = rng.choice([rng.uniform(0, 0.2), rng.uniform(0.5, 1)])
        canvas[rows[inside], columns[inside]] = grey


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
OBJECTS = (IMAGE, *DRAWN, "bent")
