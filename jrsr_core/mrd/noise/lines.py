"""Which noise lines of a scan can be used; decided without torch, so that `jrsr check` says it."""

from dataclasses import dataclass

import numpy as np

from jrsr_core.calibration.settings import MIN_NOISE_SAMPLES
from jrsr_core.mrd.lines.acquired import LineSource

NOT_WHITENED = "the coils are not whitened, the noise level is estimated"
"""What follows if noise lines cannot be used."""


@dataclass(frozen=True, eq=False)
class NoiseLines:
    """Indices of the noise lines that are used, and what is wrong with the others: a sentence.

    Without lines the images are not whitened; with a `note` as well, they could have been.
    """

    lines: np.ndarray
    note: str = ""


def usable_noise(
    source: LineSource, lines: np.ndarray, broken_coils: frozenset[int] = frozenset()
) -> NoiseLines:
    """Return the noise lines that are finite, none if they have too few samples.

    Parameters
    ----------
    lines
        Indices of noise lines of one number of channels.
    broken_coils
        Channels that do not count, because they are not used.
    """
    if not len(lines):
        return NoiseLines(lines)
    n_coils = int(source.heads["active_channels"][lines[0]])
    kept = [c for c in range(n_coils) if c not in broken_coils]
    is_finite = np.array([_is_finite(source, i, kept) for i in lines], dtype=bool)
    good, n_bad = lines[is_finite], int((~is_finite).sum())
    n_samples = int(source.heads["number_of_samples"][good].astype(np.int64).sum())
    few = too_few(n_samples, len(kept))
    bad = f"{n_bad} of {len(lines)} noise lines have NaN or infinite samples"
    if not few:
        return NoiseLines(good, f"{bad} and are not used" if n_bad else "")
    return NoiseLines(lines[:0], f"{bad if n_bad else few}: {NOT_WHITENED}")


def too_few(n_samples: int, n_coils: int, which: str = "") -> str:
    """Return that noise lines have too few samples, of those that are named; empty if enough."""
    n_needed = MIN_NOISE_SAMPLES * n_coils
    if n_samples >= n_needed:
        return ""
    return f"noise lines have {n_samples} samples{which}, {n_coils} coils need {n_needed}"


def _is_finite(source: LineSource, line: int, kept: list[int]) -> bool:
    samples = source.samples(np.array([line]))[0][kept]
    return bool(np.isfinite(samples.view(np.float32)).all())
