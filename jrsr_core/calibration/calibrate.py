"""From one slice of k-space to what a model needs: virtual coils, maps, scale, noise level.

The one definition that the scanner, the file and the training set share.
"""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import KSpaceSlice
from ..physics.resolution import Shape
from ..physics.sense import SenseOperator
from .acs import find_acs
from .compression import CoilCompressor
from .espirit import espirit_maps
from .noise import estimate_noise_std
from .scaling import intensity_scale

SR_FACTOR = 2


@dataclass(frozen=True)
class CalibrationSettings:
    """Coil compression and ESPIRiT, as the command line names them."""

    n_virtual_coils: int = 12
    kernel_width: int = 6
    threshold: float = 0.02
    crop: float = 0.9


@dataclass(frozen=True, eq=False)
class CalibratedSlice:
    """Inputs of a model, all with a batch axis of 1.

    `kspace` is divided by `scale`, so that max |zero-filled LR image| = 1; `noise_std` ``(1,)`` is
    in the same units; `sense` is the operator on the HR grid.
    """

    kspace: Tensor
    sense: SenseOperator
    noise_std: Tensor
    scale: float
    acs_shape: Shape
    seconds: float


def hr_shape(lr_shape: Shape) -> Shape:
    """Return the HR grid of an acquired grid."""
    return (SR_FACTOR * lr_shape[0], SR_FACTOR * lr_shape[1])


def compress_coils(kspace: Tensor, mask: Tensor, n_virtual: int) -> Tensor:
    """GCC where the readout is fully sampled, SCC otherwise; nothing for few coils.

    `kspace` ``(coil, ky, kx)`` -> ``(min(coil, n_virtual), ky, kx)``.
    """
    if kspace.shape[0] <= n_virtual:
        return kspace
    block = find_acs(mask)
    acs = kspace[(slice(None), *block)]
    if acs.shape[-1] == kspace.shape[-1]:
        return CoilCompressor.gcc(acs, n_virtual, kspace.shape[-1])(kspace)
    return CoilCompressor.scc(acs, n_virtual)(kspace)


def calibrate(slice_: KSpaceSlice, settings: CalibrationSettings) -> CalibratedSlice:
    """Compress the coils, estimate maps on the HR grid, scale k-space.

    Without noise data the noise level is estimated from k-space itself.

    Raises
    ------
    ValueError
        No usable ACS, or nothing was measured.
    """
    start = time.perf_counter()
    mask = slice_.mask
    kspace = compress_coils(slice_.kspace, mask, settings.n_virtual_coils)
    lr_shape: Shape = (kspace.shape[-2], kspace.shape[-1])
    acs = kspace[(slice(None), *find_acs(mask))]
    csm, _ = espirit_maps(
        acs,
        hr_shape(lr_shape),
        kernel_width=settings.kernel_width,
        threshold=settings.threshold,
        crop=settings.crop,
    )
    sense = SenseOperator(csm[None], mask)
    noise_std = slice_.noise_std
    if noise_std is None:
        noise_std = estimate_noise_std(kspace, mask)
    scale = intensity_scale(sense.at_low_resolution().adjoint(kspace[None]))
    return CalibratedSlice(
        kspace=kspace[None] / scale,
        sense=sense,
        noise_std=torch.as_tensor([noise_std], dtype=torch.float32, device=scale.device) / scale,
        scale=float(scale),
        acs_shape=(acs.shape[-2], acs.shape[-1]),
        seconds=time.perf_counter() - start,
    )
