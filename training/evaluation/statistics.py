"""Is one system better than another on the same slices? Subjects are the units.

Slices of one subject resemble each other, so neither test nor interval may count them as
independent. Both are about the mean difference over slices, sum_s D_s / sum_s n_s, with D_s the sum
over the n_s slices of subject s; means of subjects would be about another quantity, even of
another sign where one subject has most slices:

    test        sign flips of the D_s (Fisher, 1935): share of all 2^n sign patterns with
                |mean| at least as large as observed; random patterns beyond `MAX_EXACT` subjects
    interval    2.5 to 97.5 percentiles of the mean, subjects drawn with replacement
                (cluster bootstrap: Davison and Hinkley, 1997)
"""

from dataclasses import dataclass

import numpy as np

MAX_EXACT = 14
N_RANDOM = 10_000
N_BOOTSTRAP = 2_000


@dataclass(frozen=True)
class Comparison:
    """Mean difference over slices, its 95 % interval and p value, number of subjects."""

    difference: float
    low: float
    high: float
    p_value: float
    n_subjects: int


def compare(differences: dict[str, list[float]], seed: int = 0) -> Comparison:
    """Compare by the differences of the slices of every subject.

    With fewer than two subjects there is no interval and no test: NaN.
    """
    groups = [np.array(values, float) for values in differences.values()]
    mean = float(np.concatenate(groups).mean())
    if len(groups) < 2:
        return Comparison(mean, np.nan, np.nan, np.nan, len(groups))
    low, high = _bootstrap(groups, np.random.default_rng(seed))
    p_value = _sign_flips(np.array([g.sum() for g in groups]), np.random.default_rng(seed))
    return Comparison(mean, low, high, p_value, len(groups))


def _bootstrap(groups: list[np.ndarray], rng: np.random.Generator) -> tuple[float, float]:
    sums = np.array([g.sum() for g in groups])
    sizes = np.array([g.size for g in groups])
    drawn = rng.integers(len(groups), size=(N_BOOTSTRAP, len(groups)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def _sign_flips(sums: np.ndarray, rng: np.random.Generator) -> float:
    n = len(sums)
    if n <= MAX_EXACT:
        patterns = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        patterns = rng.integers(2, size=(N_RANDOM, n))
        patterns[0] = 0  # the observed one belongs to the distribution
    flipped = np.abs((1 - 2 * patterns) @ sums)
    # Equal sums differ in their last bits.
    return float((flipped >= np.abs(sums.sum()) * (1 - 1e-12)).mean())
