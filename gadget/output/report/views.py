"""Makes the pictures that the report shows of one image: from the measurement to the maps.

A volume is shown in the plane (PE, SPE) in the middle of the readout: the network reconstructs
such planes.
"""

from dataclasses import dataclass

import numpy as np
import torch

from jrsr_core.calibration.calibrate import CalibratedSlice
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.matrix import hr_shape, lr_shape
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import crop_or_pad, sinc_interpolate
from jrsr_core.reconstruction.fallback import fallback_image
from jrsr_core.reconstruction.field_of_view import crop_to_fov
from jrsr_core.reconstruction.reconstructor import Reconstructor


@dataclass(frozen=True, eq=False)
class View:
    """Magnitudes of one plane, float32 ``(y, x)``, on one scale.

    Attributes
    ----------
    image
        The delivered image.
    conventional
        CG-SENSE, interpolated to the same grid.
    measured
        Zero-filled LR image, root sum of squares over the coils.
    maps
        Maps of the image by name; empty for a fallback image.
    aspect
        Width over height of the field of view.
    """

    image: np.ndarray
    conventional: np.ndarray
    measured: np.ndarray
    maps: dict[str, np.ndarray]
    aspect: float


def make_view(
    made: KSpaceSlice | KSpaceVolume, image: ReconImage, recon: Reconstructor, encoding: Encoding
) -> View:
    """Return the view of an image.

    Parameters
    ----------
    made
        K-space from which the image was reconstructed.
    image
        The delivered image.
    recon
        The reconstructor, for its conventional reconstruction.
    encoding
        Encoding of the image.
    """
    slice_ = plane_of(made)
    plain = fallback_image(recon.slices, slice_, "")
    measured = ifft2c(crop_or_pad(slice_.kspace, slice_.lr_shape)).abs().square().sum(0).sqrt()
    size = hr_shape(slice_.lr_shape)
    fov = image.geometry.fov_mm
    if isinstance(made, KSpaceVolume):
        own, maps = _plane(image.image), {k: _plane(v) for k, v in image.maps.items()}
        conventional, low = plain.image, measured
        aspect = fov[0] / fov[1]
    else:
        own, maps = image.image, image.maps
        whole = crop_to_fov(plain, encoding.recon_fov_mm)
        conventional, low = whole.image, crop_or_pad(measured, tuple(whole.low_resolution.shape))
        aspect = fov[2] / fov[1]
    if tuple(conventional.shape) != tuple(own.shape):
        conventional = crop_or_pad(conventional, tuple(own.shape))
        low = crop_or_pad(low, tuple(n * low.shape[i] // size[i] for i, n in enumerate(own.shape)))
    return View(
        image=_array(own),
        conventional=_array(conventional),
        measured=_array(low),
        maps={name: _array(value) for name, value in maps.items()},
        aspect=aspect,
    )


def plane_of(made: KSpaceSlice | KSpaceVolume) -> KSpaceSlice:
    """Return the slice, or the middle readout position of a volume."""
    return made if isinstance(made, KSpaceSlice) else made.position(made.n_positions // 2)


def _plane(volume: torch.Tensor) -> torch.Tensor:
    """Return the plane ``(y, z)`` in the middle of x of a volume ``(z, y, x)``."""
    return volume[:, :, volume.shape[-1] // 2].T


def coverage(slice_: KSpaceSlice) -> np.ndarray:
    """Return which samples of the HR image's k-space were measured, uint8 codes ``(ky, kx)``.

    0: beyond the acquired resolution, 1: skipped, 2: measured, 3: measured for calibration.
    """
    mask = slice_.mask.cpu()
    codes = torch.where(mask > 0, 2, 1).to(torch.uint8)
    size = [min(n, m) for n, m in zip(slice_.acs.shape[-2:], mask.shape, strict=True)]
    block = crop_or_pad(torch.ones(tuple(size)), tuple(mask.shape)) > 0
    codes[block & (mask > 0)] = 3
    return crop_or_pad(codes, hr_shape(slice_.lr_shape)).numpy()


def coil_magnitudes(calibrated: CalibratedSlice) -> list[np.ndarray]:
    """Return the magnitudes of the coil sensitivities on the LR grid, float32 ``(y, x)`` each."""
    csm = calibrated.sense.csm[0].cpu()
    lr = lr_shape((csm.shape[-2], csm.shape[-1]))
    return [_array(m) for m in sinc_interpolate(csm, lr)]


def _array(x: torch.Tensor) -> np.ndarray:
    return x.detach().abs().to(torch.float32).cpu().numpy()
