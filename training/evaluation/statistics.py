"""Is one system better than another on the same slices? Subjects are the units.

Slices of one subject resemble each other, so neither test nor interval may count them as
independent. Both are about the mean difference over slices, sum_s D_s / sum_s n_s, with D_s the sum
over the n_s slices of subject s. A mean of the means of subjects would be another quantity, even
of another sign where one subject has most slices.

    test        sign flips of the D_s (Fisher, 1935): share of the sign patterns with |mean| at
                least as large as observed; of all 2^n patterns for up to 14 subjects, of random
                ones beyond
    interval    2.5 to 97.5 percentiles of the mean, subjects drawn with replacement
                (cluster bootstrap: Davison and Hinkley, 1997)
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

N_SIGN_PATTERNS = 2**14
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
    """Return the comparison of two systems from the differences of the slices of every subject.

    With fewer than two subjects there is no interval and no test: NaN.
    """
    sums = np.array([np.sum(values) for values in differences.values()])
    sizes = np.array([len(values) for values in differences.values()])
    mean = float(sums.sum() / sizes.sum())
    if len(sums) < 2:
        return Comparison(mean, np.nan, np.nan, np.nan, len(sums))
    interval = stats.bootstrap(
        (sums, sizes),
        lambda s, n, axis: s.sum(axis) / n.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=N_BOOTSTRAP,
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    test = stats.permutation_test(
        (sums,),
        lambda s, axis: s.sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=N_SIGN_PATTERNS,
        random_state=np.random.default_rng(seed),
    )
    low, high = float(interval.low), float(interval.high)
    return Comparison(mean, low, high, float(test.pvalue), len(sums))
