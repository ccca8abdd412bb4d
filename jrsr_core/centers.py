"""Compares the stated centre of k-space, by a header or n // 2 of an array, with the energy's peak.

The energy E(k) of lines, or of samples, along one axis is smoothed by the geometric mean of three
neighbours, so that a spike in one line is no peak. The measured centre replaces the stated one if

- the peak is `PROMINENT` times the median: there is signal, and it has a centre;
- it lies further from the stated centre than `tolerance`: a linear phase of the image moves the
  peak by a line or two;
- the energy at the stated centre is below 1 / `CLEARLY` of that at the peak. Ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PROMINENT = 8.0
CLEARLY = 4.0
MIN_PLACES = 8
"""With fewer places along an axis nothing is decided."""

ARRAY_TOLERANCE = 3
ARRAY_SHARE = 16
"""Places, and part of an axis, by which an array may miss n // 2: an echo that came early or late.
The larger of both counts."""
SHIFTED = "numpy.fft.fftshift along this axis"
INCOMPLETE = "zeros for what was not measured along this axis"
"""Remedies for a peak at an end of an axis, and elsewhere."""


@dataclass(frozen=True)
class Peak:
    """Where the energy peaks, whether it is a peak, and whether it contradicts the header."""

    place: int
    is_certain: bool
    contradicts: bool


def find_peak(places: np.ndarray, energy: np.ndarray, stated: int, tolerance: int) -> Peak:
    """Return the peak of the energy along an axis.

    Parameters
    ----------
    places, energy
        Counter, and energy, of every line or sample; those of equal counter are added up.
    stated
        Centre by the header.
    tolerance
        Distance up to which peak and stated centre agree, where the stated centre was measured.

    Energy that overflows tells nothing about its peak.
    """
    k, member = np.unique(places, return_inverse=True)
    total = np.bincount(member.reshape(-1), weights=energy)
    if len(k) < MIN_PLACES or not 0 < total.max() < np.inf:
        return Peak(stated, is_certain=False, contradicts=False)
    level = np.log(total + 1e-12 * total.max())
    smooth = _smoothed(level)
    top = int(smooth.argmax())
    near = slice(max(top - 1, 0), top + 2)
    peak = near.start + int(level[near].argmax())
    is_certain = bool(smooth[top] - np.median(level) > np.log(PROMINENT))
    own = int(np.abs(k - stated).argmin())
    distance = abs(int(k[peak]) - stated)
    is_far = distance > tolerance + abs(int(k[own]) - stated)
    is_weaker = smooth[top] - smooth[own] > np.log(CLEARLY)
    return Peak(int(k[peak]), is_certain, bool(is_certain and is_far and is_weaker))


def center_notes(energy: np.ndarray, axes: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence about every axis of an array of k-space whose energy peaks far from n // 2.

    Parameters
    ----------
    energy
        Energy of every sample, summed over the coils, of the shape of `axes`; 0 where nothing was
        measured.
    axes
        Names of the axes for the user.
    """
    notes = []
    for i, axis in enumerate(axes):
        others = tuple(j for j in range(energy.ndim) if j != i)
        n, n_measured = energy.shape[i], (energy > 0).sum(others)
        places = np.flatnonzero(n_measured)
        mean = energy.sum(others)[places] / n_measured[places]
        tolerance = max(ARRAY_TOLERANCE, n // ARRAY_SHARE)
        peak = find_peak(places, mean, n // 2, tolerance)
        if peak.contradicts:
            is_at_edge = min(peak.place, n - peak.place) <= tolerance
            remedy = SHIFTED if is_at_edge else INCOMPLETE
            found = f"the energy of k-space peaks at {axis} = {peak.place}"
            notes.append(f"{found}, expected n // 2 = {n // 2}: {remedy}?")
    return tuple(notes)


def _smoothed(level: np.ndarray) -> np.ndarray:
    """Return the mean of each value and its neighbours; at the ends of two values."""
    padded = np.concatenate([[np.nan], level, [np.nan]])
    return np.nanmean(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
