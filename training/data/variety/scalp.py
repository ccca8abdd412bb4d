"""The image in a shell of thin layers, as fluid, bone, fat and skin lie around a brain or a limb.

Half of the training images are brains without a skull. On measured heads nearly all of the error
lies in the scalp: fat is brighter than the brain, and layers are as thin as a pixel. The layers
follow a smooth curve around the object, vary in thickness along it, are grainy and have septa.
"""

import math

import numpy as np
from torch import Tensor

from jrsr_core.physics.resolution import Shape, crop_or_pad
from jrsr_core.simulation.fields import object_mask

from .drawing import FINE, averaged, draw_curves, texture

N_DIRECTIONS = 72
N_HARMONICS = 6
"""Of the curve over the angle, which is smoother than the object."""

BONE = (0.0, 0.12), (0.8, 3.0)
FAT = (0.7, 2.2), (2.0, 9.0)
LAYERS = (
    *(((0.02, 0.6), (1.0, 8.0)), BONE, ((0.2, 0.9), (0.5, 5.0)), BONE, FAT),
    ((0.3, 1.2), (0.5, 2.0)),
)
"""Grey level relative to the maximum of the image, and thickness in pixels, from the inside: fluid,
bone, marrow, bone, fat, skin."""

SHUFFLED = 0.4
"""Share of the shells with 4 to 9 of these layers in any order, since limbs have other ones."""

MARGIN = 32
"""Pixels that the shell may need on either side."""


def with_scalp(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the image inside a shell, `MARGIN` pixels larger on all sides; float32 ``(y, x)``.

    An image that is 0 everywhere has no shell.
    """
    shape: Shape = (image.shape[0] + 2 * MARGIN, image.shape[1] + 2 * MARGIN)
    padded = crop_or_pad(image, shape)
    if not bool(padded.any()):
        return padded
    middle, spectrum = _curve_around(padded)
    y, x = (
        (np.arange(FINE * n) + 0.5) / FINE - 0.5 - m for n, m in zip(shape, middle, strict=True)
    )
    turn = _turn(y[:, None], x[None, :])
    depth = np.hypot(y[:, None], x[None, :]) - _radius(spectrum, turn)
    shell = _shell(depth, turn, rng) * float(image.max())
    return padded * averaged((depth < 0).astype(float)) + averaged(shell)


def _turn(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the angle as a share of the full turn, in [0, 1]."""
    return (np.arctan2(y, x) + math.pi) / (2 * math.pi)


def _radius(spectrum: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return the distance of the curve from its middle, in pixels."""
    return sum(
        (1 if k == 0 else 2) * (c * np.exp(2j * math.pi * k * turn)).real
        for k, c in enumerate(spectrum)
    )


def _curve_around(image: Tensor) -> tuple[tuple[float, float], np.ndarray]:
    """Return the middle (y, x) of the object, and the Fourier coefficients of a curve around it.

    The object reaches beyond the curve in 3 % of the directions.
    """
    rows, columns = np.nonzero(object_mask(image).numpy())
    middle = (float(rows.mean()), float(columns.mean()))
    y, x = rows - middle[0], columns - middle[1]
    reach = np.zeros(N_DIRECTIONS)
    direction = (_turn(y, x) * N_DIRECTIONS).astype(int) % N_DIRECTIONS
    np.maximum.at(reach, direction, np.hypot(y, x))
    turns = (np.arange(N_DIRECTIONS) + 0.5) / N_DIRECTIONS
    waves = np.exp(-2j * math.pi * np.arange(N_HARMONICS + 1)[:, None] * turns)
    spectrum = (waves * reach).mean(1)
    spectrum[0] += np.quantile(reach - _radius(spectrum, turns), 0.97)
    return middle, spectrum


def _shell(depth: np.ndarray, turn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the layers where `depth`, in pixels outside the curve, is 0 and more."""
    shape: Shape = (depth.shape[0], depth.shape[1])
    shell, grain, edge = np.zeros(shape), texture(shape, rng), np.zeros(shape)
    layers = list(LAYERS)
    if rng.random() < SHUFFLED:
        layers = [LAYERS[k] for k in rng.integers(len(LAYERS), size=rng.integers(4, 10))]
    for levels, thickness in layers:
        beads = rng.uniform(0, 0.5) * rng.standard_normal(shape)
        grey = rng.uniform(*levels) * (1 + rng.uniform(0, 0.3) * grain + beads)
        further = edge + rng.uniform(*thickness) * _thickness(turn, rng)
        np.copyto(shell, grey, where=(depth >= edge) & (depth < further))
        edge = further
    draw_curves(shell, rng, int(rng.integers(0, 150)), longest=0.3)
    return np.maximum(shell, 0.0) * ((depth >= 0) & (depth < edge))


def _thickness(turn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the thickness along the curve, relative to its mean, never negative."""
    strength = rng.uniform(0, 0.35)
    waves = [
        np.cos(2 * math.pi * (n * turn + offset))
        for n, offset in zip(rng.integers(1, 12, 3), rng.uniform(0, 1, 3), strict=True)
    ]
    return np.maximum(1 + strength * sum(waves), 0.0)
