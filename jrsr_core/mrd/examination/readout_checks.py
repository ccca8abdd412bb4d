"""What the central lines of an image say about its readouts: oversampling, and direction.

Magnitudes along the readout of the lines about k = 0 are projections of the coil images. They show
whether the object fills the field of view of the samples, and whether neighbouring lines are mirror
images of each other, which means that every other line runs backwards without a flag. Ours.
"""

import numpy as np

OUTER_SHARE = 0.12
"""Energy in the outer half of the field of view that oversampled readouts do not have."""

MIRRORED = 0.1
"""Difference of two correlations that counts."""

MAX_COILS = 8

Correlation = tuple[float, float]


def projections(samples: np.ndarray) -> np.ndarray:
    """Return magnitudes along the readout, ``(line, coil, x)``, of ``(line, coil, sample)``.

    The transform is a matrix product: the lines are few, and importing torch takes long. Of many
    coils the `MAX_COILS` strongest are used.
    """
    strongest = np.argsort(-np.square(np.abs(samples)).sum((0, 2)), kind="stable")[:MAX_COILS]
    n = samples.shape[-1]
    k = np.arange(n) - n // 2
    matrix = np.exp(2j * np.pi / n * np.outer(k, k)).astype(np.complex64)
    return np.abs(samples[:, strongest] @ matrix)


def outer_share(projected: np.ndarray, inner_part: float = 0.5) -> float:
    """Return the share of the energy, without its noise, outside the inner part of the readout."""
    power = np.square(projected, dtype=np.float64).sum((0, 1))
    power = np.clip(power - np.quantile(power, 0.1), 0, None)
    n = len(power)
    rim = int(n * (1 - inner_part) / 2)
    inner = power[rim : n - rim].sum()
    return float(1 - inner / power.sum()) if power.sum() > 0 else 0.0


def is_alternating(projected: np.ndarray) -> bool:
    """Return whether neighbouring lines mirror each other and every other one does not.

    `projected` are lines in the order of their counters, without gaps.
    """
    if len(projected) < 6:
        return False
    near, far = (_correlations(projected[:-step], projected[step:]) for step in (1, 2))
    is_mirrored = near[1] - near[0] > MIRRORED
    return is_mirrored and far[0] - far[1] > MIRRORED


def _correlations(a: np.ndarray, b: np.ndarray) -> Correlation:
    """Return the mean correlation of lines with others, and with their mirror images."""
    mirrored = np.roll(b[..., ::-1], 1 - b.shape[-1] % 2, axis=-1)
    return _correlation(a, b), _correlation(a, mirrored)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (v - v.mean(-1, keepdims=True) for v in (a, b))
    norm = np.sqrt(np.square(a).sum((-2, -1)) * np.square(b).sum((-2, -1)))
    return float(((a * b).sum((-2, -1)) / np.maximum(norm, 1e-30)).mean())
