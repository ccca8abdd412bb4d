"""Whether samples of noise lines are noise alone.

Noise of a channel has the same power all along and at all frequencies. With p_i the power of n
samples, or of the n lines of a spectrum,

    n sum_i p_i^2 / (sum_i p_i)^2

is 2 for the samples of complex Gaussian noise and 1 + 1/m for its mean spectrum over m pieces. An
echo raises that of the samples; free induction decay, interference of one frequency and an offset
raise that of the spectrum, and so does noise in less than a quarter of the sampled bandwidth. Zeros
that pad the lines and single spikes are left out. Ours.
"""

import numpy as np

PEAKED = 4.0
"""Value of the figure, for the middle channel, above which noise lines hold signal."""

SPIKE = 25.0
"""Times the middle power above which a sample is a spike; of 3e7 samples of noise one is."""

MAX_SPIKES = 0.05
"""Share of the samples above which they are no spikes but signal."""

PIECE = 64
"""Samples of a piece whose spectrum is taken."""

PADDING = 16
"""Zeros in a row at an end of a line that count as padding."""

HOLDS_SIGNAL = "noise lines hold signal (their power is not even in time or frequency)"


def pure_noise(samples: np.ndarray) -> np.ndarray | None:
    """Return finite samples ``(coil, sample)`` without spikes; None if they hold signal."""
    power = np.square(np.abs(samples), dtype=np.float64)
    level = power.mean(1)
    is_live = level > 0
    by_sample = (power[is_live] / level[is_live, None]).mean(0)
    is_spike = by_sample > SPIKE * max(float(np.median(by_sample)), np.finfo(float).tiny)
    if is_spike.mean() > MAX_SPIKES:
        return None
    kept = samples[:, ~is_spike] if is_spike.any() else samples
    in_time = power[is_live][:, ~is_spike]
    if not in_time.any(1).all():
        return None
    is_even = max(_unevenness(in_time), _unevenness(_spectrum(kept[is_live]))) <= PEAKED
    return kept if is_even else None


def without_padding(line: np.ndarray) -> np.ndarray:
    """Return a noise line ``(coil, sample)`` without the zeros at its ends that pad it."""
    used = np.flatnonzero(line.any(0))
    if not used.size:
        return line
    first, last = int(used[0]), int(used[-1]) + 1
    start = first if first >= PADDING else 0
    stop = last if line.shape[1] - last >= PADDING else line.shape[1]
    return line[:, start:stop]


def _spectrum(samples: np.ndarray) -> np.ndarray:
    """Return the mean power spectrum of pieces, float64 ``(coil, frequency)``."""
    n = min(PIECE, samples.shape[1])
    pieces = samples[:, : samples.shape[1] // n * n].reshape(len(samples), -1, n)
    return np.square(np.abs(np.fft.fft(pieces)), dtype=np.float64).mean(1)


def _unevenness(power: np.ndarray) -> float:
    """Return the figure of the middle channel of power ``(coil, n)``."""
    figures = np.square(power).mean(1) / np.square(power.mean(1))
    return float(np.sort(figures)[(len(figures) - 1) // 2])
