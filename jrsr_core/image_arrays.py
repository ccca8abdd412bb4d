"""Recognises an image that is given in place of k-space.

The energy of k-space lies in few samples around its centre, that of an image in many pixels. For
the energies e of an array, summed over the coils,

    spread = (sum e)^2 / sum e^2

counts the samples that hold the energy. k-space of a few bright points fills its plane as well; but
the Fourier transform of an image has most of its energy near zero frequency (0.83 to 0.98 of it in
18 real scans), or near the highest one if the sign alternates. Ours.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from .centers import center_notes

NEAR, NEAR_SHARE = 2, 16
"""Near a frequency are those within so many samples, or this part of the axis."""

CONCENTRATED = 0.4
"""Share of the energy of the transform of an image that is near these frequencies; noise has part
of the rest."""

SHARES = (0.12, 0.8)
"""Limits of the spread of an image, as parts of its pixels. k-space of an object of a few pixels
comes near the first one, that of a single pixel is even and exceeds the second."""

MIN_PLACES = 20
"""With fewer places along an axis nothing is decided."""


def kspace_notes(energy: np.ndarray, plane: np.ndarray, axes: Sequence[str]) -> tuple[str, ...]:
    """Return what is wrong with an array of k-space: it is an image, or its centre lies elsewhere.

    Parameters
    ----------
    energy
        Energy of every sample, summed over the coils, of the shape of `axes`.
    plane
        Complex samples ``(coil, *axes[-2:])``, of three axes those of the plane `strongest`.
    axes
        Names of the two or three axes for the user.
    """
    if not is_image(plane):
        return center_notes(energy, axes)
    along = " and ".join(axes[-2:])
    return (
        "the array looks like an image, expected k-space: the energy of its Fourier transform "
        f"along {along} is concentrated, its own is not: give that transform, k = 0 at n // 2?",
    )


def is_image(samples: np.ndarray) -> bool:
    """Return whether samples ``(coil, y, x)`` seem to be an image; not if any are not finite."""
    if min(samples.shape[1:]) < MIN_PLACES:
        return False
    largest = np.abs(samples).max()
    if not 0 < largest < np.inf:
        return False
    samples = samples / largest  # Their squares do not overflow.
    energy = _energy(samples)
    low, high = (share * energy.size for share in SHARES)
    if not low < _spread(energy) < high:
        return False  # Nearly all k-space ends here, without a transform.
    # One coil at a time: NumPy transforms in double precision.
    transformed = _energy(np.fft.fft2(plane) for plane in samples)
    return _central_share(transformed) > CONCENTRATED


def strongest(energy: np.ndarray) -> int:
    """Return the index along the first axis with the most energy: of k-space, the centre."""
    return int(energy.reshape(len(energy), -1).sum(1).argmax())


def _central_share(energy: np.ndarray) -> float:
    """Return the share of energy near index 0 or n // 2 of every axis, cyclically."""
    ny, nx = (np.flatnonzero(_is_near(n)) for n in energy.shape)
    return float(energy[np.ix_(ny, nx)].sum() / energy.sum())


def _is_near(n: int) -> np.ndarray:
    places = np.arange(n)
    return np.minimum(places % (n / 2), -places % (n / 2)) <= max(NEAR, n // NEAR_SHARE)


def _energy(planes: Iterable[np.ndarray]) -> np.ndarray:
    """Return |plane|^2, summed over the coils."""
    return np.asarray(sum(np.square(np.abs(plane), dtype=np.float64) for plane in planes))


def _spread(energy: np.ndarray) -> float:
    return float(energy.sum() ** 2 / np.square(energy).sum())
