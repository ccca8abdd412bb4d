"""Maps of slices that share one ACS, kept while memory lasts."""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor

from .calibrate import CoilCalibration, whole_readouts

MAX_BYTES = 2**29
"""Size of the maps kept; the oldest go first."""


class CoilCache:
    """`CoilCalibration` of slices that carry the same `acs` tensor, found once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple, tuple[Tensor, CoilCalibration]] = OrderedDict()

    def get(
        self, acs: Tensor, mask: Tensor, compute: Callable[[], CoilCalibration]
    ) -> CoilCalibration:
        """Return what `compute` gave for this `acs` tensor and this kind of `mask`."""
        # Holding the tensor keeps its id unique.
        key = (id(acs), *mask.shape, whole_readouts(mask))
        if key not in self._kept:
            self._kept[key] = (acs, compute())
            while len(self._kept) > 1 and self._n_bytes() > MAX_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key][1]

    def _n_bytes(self) -> int:
        return sum(coils.csm.numel() * 8 for _, coils in self._kept.values())
