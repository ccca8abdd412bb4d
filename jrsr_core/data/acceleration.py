"""How many grid points of k-space there are to a measured one: in all, and in the sampled part.

Partial Fourier and an asymmetric echo leave out one end of k-space. The other end holds the same
frequencies, so this folds nothing, and is not part of the acceleration that coils have to undo.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def acceleration_of(mask: Tensor | np.ndarray) -> float:
    """Return the grid points of a mask over the measured ones, at least one."""
    return math.prod(mask.shape) / _n_measured(mask)


def sampled_acceleration(mask: Tensor | np.ndarray) -> float:
    """Return `acceleration_of` the part of a mask ``(ky, kx)`` that was sampled.

    Along each axis it leaves out what one end lacks beyond the other, if that is more than twice
    as wide as every gap between samples; a narrower end belongs to the pattern of the
    undersampling.
    """
    return _extent(mask.any(1)) * _extent(mask.any(0)) / _n_measured(mask)


def _n_measured(mask: Tensor | np.ndarray) -> float:
    return max(float(mask.sum()), 1.0)


def _extent(is_sampled: Any) -> int:
    """Return the size of the sampled part of one axis; of a tensor or array with that axis."""
    n, places = len(is_sampled), [i for i, sampled in enumerate(is_sampled.tolist()) if sampled]
    if not places:
        return 0
    widest = max((b - a - 1 for a, b in pairwise(places)), default=0)
    missing = abs(places[0] - (n - 1 - places[-1]))
    return n - missing if missing > 2 * widest else n
