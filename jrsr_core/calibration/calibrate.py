"""From one slice of k-space to what a model needs: virtual coils, maps, scale, noise level.

The one definition that the scanner, the file and the training set share.
"""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from jrsr_core.data import KSpaceSlice
from jrsr_core.physics.resolution import Shape, crop_or_pad
from jrsr_core.physics.sense import SenseOperator

from .acs import find_acs
from .compression import CoilCompressor
from .fold_over import image_maps, take_out
from .noise import estimate_noise_std
from .scaling import intensity_scale
from .settings import CalibrationSettings, hr_shape

MIN_OWN_LINES = 6
"""Central lines from which the noise of a slice is estimated, if it has no fewer."""


@dataclass(frozen=True, eq=False)
class CalibratedSlice:
    """Inputs of a model, all with a batch axis of 1.

    `kspace` is divided by `scale`, so that max |zero-filled LR image| = 1; `noise_std` ``(1,)`` is
    in the same units; `sense` is the operator on the HR grid. A readout acquired at high resolution
    is compressed with all its samples, before anything is cropped to the LR grid.

    `folded` is the image ``(1, y, x)`` of what was folded onto the object and is no longer in
    `kspace`, see `fold_over`; None where the object is within the field of view.
    """

    kspace: Tensor
    sense: SenseOperator
    noise_std: Tensor
    scale: float
    acs_shape: Shape
    seconds: float
    folded: Tensor | None = None


@dataclass(frozen=True, eq=False)
class CoilCalibration:
    """What the ACS tells about the coils: compression (None: not needed) and maps on the HR grid.

    The same matrices compress the ACS and every k-space that goes with it. `folded` are the maps of
    what is folded onto the image, where one set of maps is asked for and does not explain it.
    """

    compressor: CoilCompressor | None
    acs: Tensor
    csm: Tensor
    folded: Tensor | None = None

    @property
    def n_bytes(self) -> int:
        """Size of the maps."""
        return self.csm.nbytes + (0 if self.folded is None else self.folded.nbytes)


def whole_readouts(mask: Tensor) -> bool:
    """Whether the mask consists of fully sampled readout lines."""
    return bool((mask == mask[..., :1]).all())


def make_compressor(acs: Tensor, mask: Tensor, n_virtual: int) -> CoilCompressor | None:
    """GCC where the readout is fully sampled, SCC otherwise; None where there are few coils.

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
    if not slice_.acs.numel():
        raise ValueError("no ACS: the centre of k-space was not sampled")
    compressor = make_compressor(slice_.acs, slice_.mask, settings.n_virtual_coils)
    acs = compress_acs(slice_.acs, compressor, slice_.mask.shape[-1])
    csm, folded = image_maps(acs, hr_shape(slice_.lr_shape), lambda: noise_std_of(slice_), settings)
    return CoilCalibration(compressor, acs, csm, folded)


def calibrate(
    slice_: KSpaceSlice,
    settings: CalibrationSettings,
    coils: CoilCalibration | None = None,
    scale: Tensor | None = None,
) -> CalibratedSlice:
    """Compress the coils, estimate maps on the HR grid, scale k-space.

    Without noise data the noise level is estimated from k-space itself. `coils` is the result of
    `calibrate_coils` where it is known already, `scale` replaces the scale of the slice.

    Raises
    ------
    ValueError
        No usable ACS, or nothing was measured.
    """
    start = time.perf_counter()
    mask = slice_.mask
    coils = coils or calibrate_coils(slice_, settings)
    kspace = slice_.kspace if coils.compressor is None else coils.compressor(slice_.kspace)
    kspace, folded = kspace[None], None
    sense = SenseOperator(
        coils.csm[None], mask, has_map_axis=coils.csm.ndim == 4, lr_shape=slice_.lr_shape
    )
    if coils.folded is not None:
        kspace, folded = take_out(kspace, sense, coils.folded[None])
    noise_std = noise_std_of(slice_)
    if scale is None:
        central = sense.low_resolution_kspace(kspace)
        scale = intensity_scale(sense.single_map().at_low_resolution().adjoint(central))
    return CalibratedSlice(
        kspace=kspace / scale,
        sense=sense,
        noise_std=torch.as_tensor([noise_std], dtype=torch.float32, device=scale.device) / scale,
        scale=float(scale),
        acs_shape=(coils.acs.shape[-2], coils.acs.shape[-1]),
        seconds=time.perf_counter() - start,
        folded=None if folded is None else folded / scale,
    )


def noise_std_of(slice_: KSpaceSlice) -> float:
    """Return the noise of a sample; unknown, it is estimated from the slice, else from its ACS.

    Before compression: its matrices come from the ACS and gather the noise of the ACS.
    """
    if slice_.noise_std is not None:
        return slice_.noise_std
    try:
        rows, _ = find_acs(slice_.mask)
        has_own = rows.stop - rows.start >= MIN_OWN_LINES
    except ValueError:
        has_own = False
    if has_own:
        return estimate_noise_std(slice_.kspace, slice_.mask)
    return estimate_noise_std(slice_.acs, torch.ones_like(slice_.acs[0].real))
