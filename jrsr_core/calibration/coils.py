"""Compression and sensitivity maps of the coils of a slice, from its ACS."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from jrsr_core.data import KSpaceSlice
from jrsr_core.matrix import hr_shape
from jrsr_core.physics.pointwise import whole_readouts
from jrsr_core.physics.resolution import crop_or_pad

from .acs_noise import acs_noise_std
from .compression import CoilCompressor
from .fold_over import image_maps
from .settings import CalibrationSettings, kernel_shape

MAX_CACHE_BYTES = 2**29
"""Size of the maps in a `CoilCache`; the oldest are dropped first, but not those of one volume."""


@dataclass(frozen=True, eq=False)
class CoilCalibration:
    """Compression (None: not needed), compressed ACS and maps on the HR grid.

    The same matrices compress the ACS and every k-space that goes with it. `folded` are the maps of
    what is folded onto the image (`fold_over`), None where nothing is. `note` is a line for the
    report where the maps come from other lines than the ACS of the slice (`own_lines`).
    """

    compressor: CoilCompressor | None
    acs: Tensor
    csm: Tensor
    folded: Tensor | None = None
    note: str = ""

    @property
    def n_bytes(self) -> int:
        """Size of the maps."""
        return self.csm.nbytes + (0 if self.folded is None else self.folded.nbytes)


def make_compressor(acs: Tensor, mask: Tensor, n_virtual: int) -> CoilCompressor | None:
    """Return GCC for a fully sampled readout, else SCC; None for at most `n_virtual` coils.

    `acs` ``(coil, ay, ax)`` may be narrower than the readout, as that of a separate scan is.
    """
    if acs.shape[0] <= n_virtual:
        return None
    if whole_readouts(mask):
        return CoilCompressor.gcc(acs, n_virtual, mask.shape[-1])
    return CoilCompressor.scc(acs, n_virtual)


def compress_acs(acs: Tensor, compressor: CoilCompressor | None, n_readout: int) -> Tensor:
    """Return the ACS of the virtual coils; a GCC matrix belongs to the whole readout."""
    if compressor is None:
        return acs
    if not compressor.is_geometric:
        return compressor(acs)
    padded = compressor(crop_or_pad(acs, (n_readout,)))
    return crop_or_pad(padded, (acs.shape[-1],))


def calibrate_coils(slice_: KSpaceSlice, settings: CalibrationSettings) -> CoilCalibration:
    """Estimate compression and maps from the ACS of a slice.

    Raises
    ------
    ValueError
        No usable ACS.
    """
    if slice_.n_coils == 1 and not _holds_kernel(slice_, settings):
        # One coil unfolds nothing: its map is 1, and only its background is not told apart.
        csm = slice_.kspace.new_ones((1, *hr_shape(slice_.lr_shape)))
        return CoilCalibration(None, slice_.acs, csm if settings.n_maps == 1 else csm[None])
    if not slice_.acs.numel():
        raise ValueError("no ACS: the centre of k-space was not sampled")
    compressor = make_compressor(slice_.acs, slice_.mask, settings.n_virtual_coils)
    acs = compress_acs(slice_.acs, compressor, slice_.mask.shape[-1])
    csm, folded = image_maps(
        acs, hr_shape(slice_.lr_shape), lambda: acs_noise_std(slice_), settings
    )
    return CoilCalibration(compressor, acs, csm, folded)


def _holds_kernel(slice_: KSpaceSlice, settings: CalibrationSettings) -> bool:
    kernel = kernel_shape(slice_.lr_shape, settings.kernel_width)
    return all(n >= k for n, k in zip(slice_.acs.shape[-2:], kernel, strict=True))


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
        while len(self._kept) > 1 and self._n_bytes() > MAX_CACHE_BYTES:
            # Every volume asks for its planes in the same order. If the oldest ones were dropped,
            # each would be dropped shortly before it is asked for again.
            self._kept.pop(next((k for k in self._kept if k[0] != id(acs)), key))
        return coils

    def _n_bytes(self) -> int:
        return sum(coils.n_bytes for _, coils in self._kept.values())
