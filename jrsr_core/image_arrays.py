"""Recognises an image that is given in place of k-space.

The energy of k-space lies in few samples around its centre, that of its image in many pixels; an
image and its Fourier transform are the other way round. For the energies e of an array, summed over
the coils,

    spread = (sum e)^2 / sum e^2

counts the samples that hold the energy. k-space of scans, simulated (0 to 30 dB, 1 to 8 coils) and
real ones, has at most 0.03 times the spread of its transform, an image at least 38 times. Ours.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

IMAGE = 8.0
"""Spread of an array over that of its Fourier transform, above which it is an image."""

SHARES = (0.12, 0.8)
"""Limits of the spread of an image, as parts of its pixels. k-space of an object of a few pixels
comes near the first one, that of a single pixel is even and exceeds the second."""

MIN_PLACES = 8
"""With fewer places along an axis nothing is decided."""


def image_notes(samples: np.ndarray, axes: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence if samples ``(coil, *axes)`` seem to be an image.

    Parameters
    ----------
    samples
        Complex plane of every coil. Those that are not finite tell nothing.
    axes
        Names of the two axes for the user.
    """
    if min(samples.shape[1:]) < MIN_PLACES:
        return ()
    largest = np.abs(samples).max()
    if not 0 < largest < np.inf:
        return ()
    samples = samples / largest
    own, transformed = _spread(samples), _spread(_transforms(samples))
    low, high = (share * samples[0].size for share in SHARES)
    if not max(low, IMAGE * transformed) < own < high:
        return ()
    along = " and ".join(axes)
    return (
        "the array looks like an image, expected k-space: the energy of its Fourier transform "
        f"along {along} is concentrated, its own is not: give that transform, k = 0 at n // 2?",
    )


def strongest(energy: np.ndarray) -> int:
    """Return the index along the first axis with the most energy: of k-space, the centre."""
    return int(energy.reshape(len(energy), -1).sum(1).argmax())


def _transforms(samples: np.ndarray) -> Iterator[np.ndarray]:
    # One coil at a time: NumPy transforms in double precision.
    return (np.fft.fft2(plane) for plane in samples)


def _spread(planes: Iterable[np.ndarray]) -> float:
    energy = sum(np.square(np.abs(plane), dtype=np.float64) for plane in planes)
    return float(np.sum(energy) ** 2 / np.square(energy).sum())
