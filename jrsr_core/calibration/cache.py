"""Maps of slices, and of the planes of volumes, that share one ACS; kept while memory lasts."""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor

from .calibrate import CoilCalibration, whole_readouts

MAX_BYTES = 2**29
"""Size of the maps kept; the oldest go first, but never those of the same volume."""


class CoilCache:
    """`CoilCalibration` of slices that carry the same `acs` tensor, found once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple, tuple[Tensor, CoilCalibration]] = OrderedDict()

    def get(
        self, acs: Tensor, mask: Tensor, compute: Callable[[], CoilCalibration], plane: int = 0
    ) -> CoilCalibration:
        """Return what `compute` gave for this `acs` tensor, its `plane` and this kind of `mask`."""
        # Holding the tensor keeps its id unique.
        key = (id(acs), plane, *mask.shape, whole_readouts(mask))
        if key not in self._kept:
            self._kept[key] = (acs, compute())
        self._kept.move_to_end(key)
        coils = self._kept[key][1]
        while len(self._kept) > 1 and self._n_bytes() > MAX_BYTES:
            # Planes come in order for every volume: were the oldest dropped, none would be met.
            self._kept.pop(next((k for k in self._kept if k[0] != id(acs)), key))
        return coils

    def _n_bytes(self) -> int:
        return sum(coils.n_bytes for _, coils in self._kept.values())
