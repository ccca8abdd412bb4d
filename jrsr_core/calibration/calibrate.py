"""From one slice of k-space to the inputs of a model: virtual coils, maps, scale, noise level.

Reconstruction of scans and simulation of training sets use the same functions.
"""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from jrsr_core.data import KSpaceSlice
from jrsr_core.physics.resolution import Shape
from jrsr_core.physics.sense import SenseOperator

from .coils import CoilCalibration, calibrate_coils
from .fold_over import take_out
from .noise import noise_std_of
from .settings import CalibrationSettings


@dataclass(frozen=True, eq=False)
class CalibratedSlice:
    """Inputs of a model, all with a batch axis of 1.

    `kspace` is divided by `scale`, so that max |zero-filled LR image| = 1; `noise_std` ``(1,)`` is
    in the same units; `sense` is the operator on the HR grid. A readout acquired at high resolution
    is compressed with all its samples, before anything is cropped to the LR grid.

    `folded` is the image ``(1, y, x)`` of the part outside the field of view, which was removed
    from `kspace` (`fold_over`); None where the object is within the field of view. `notes` are
    lines for the report on the origin of the maps.
    """

    kspace: Tensor
    sense: SenseOperator
    noise_std: Tensor
    scale: float
    acs_shape: Shape
    seconds: float
    folded: Tensor | None = None
    notes: tuple[str, ...] = ()


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
        notes=(coils.note,) if coils.note else (),
    )


def intensity_scale(zero_filled: Tensor) -> Tensor:
    """Return max |image| per sample, float ``(*batch,)``, of an image ``(*batch, y, x)``.

    K-space divided by the scale of its zero-filled LR image gives images in about [0, 1]; finished
    images are multiplied by it again, which returns them to the scanner's own scale. Ours.

    Raises
    ------
    ValueError
        If a maximum is zero (nothing was measured) or not finite.
    """
    scale = zero_filled.abs().amax((-2, -1))
    if not bool(torch.isfinite(scale).all()):
        raise ValueError("zero-filled image has samples that are not finite")
    if not bool((scale > 0).all()):
        raise ValueError("zero-filled image is zero everywhere")
    return scale
