"""What made objects are drawn of: textures, bodies, ellipses, curves.

Objects are drawn with `FINE`^2 points per pixel and averaged, so that edges have their partial
volume.
"""

import math

import numpy as np
import torch
from torch import Tensor

from jrsr_core.physics.fourier import filter_kspace
from jrsr_core.physics.resolution import Shape

FINE = 2


def averaged(canvas: np.ndarray) -> Tensor:
    """Return the pixels of a canvas ``(FINE y, FINE x)``, float32 ``(y, x)``."""
    ny, nx = (n // FINE for n in canvas.shape)
    return torch.from_numpy(canvas.reshape(ny, FINE, nx, FINE).mean((1, 3))).to(torch.float32)


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


def draw_ellipse(
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


def draw_curves(canvas: np.ndarray, rng: np.random.Generator, n: int, longest: float = 1.5) -> None:
    """Paint `n` curves of 0.5 to 3 pixels in width, brighter or darker than the ground.

    They are 0.1 to `longest` times as long as the shorter side.
    """
    ny, nx = canvas.shape
    for _ in range(n):
        length = int(rng.uniform(0.1, longest) * min(ny, nx))
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
