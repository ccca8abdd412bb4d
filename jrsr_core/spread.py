"""A few of many, evenly spread."""

import numpy as np


def spread(n: int, most: int | None = None) -> list[int]:
    """Return the indices of `n` items, or of `most` evenly spread ones, in their order.

    The first and the last are among them; None stands for all.
    """
    if most is None or most >= n:
        return list(range(n))
    return [round(i) for i in np.linspace(0, n - 1, most)]
