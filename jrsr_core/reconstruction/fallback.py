"""The fallback image: a conventional reconstruction where the model cannot be used.

CG-SENSE where coil maps can be estimated, else the root sum of squares of the zero-filled coil
images; either is interpolated to the HR grid by zero-padding its k-space. The report of the image
is marked with the reason.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from jrsr_core.calibration.acs import cut_acs
from jrsr_core.calibration.fold_over import put_back
from jrsr_core.calibration.settings import hr_shape
from jrsr_core.cancellation import checkpoint
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage, ReconReport
from jrsr_core.models.cg_sense import CgSense
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import crop_or_pad, sinc_interpolate
from jrsr_core.tensors import is_finite

from .reconstructor import Reconstructor
from .volume import VolumeImage


@torch.inference_mode()
def fallback_image(
    recon: Reconstructor,
    measured: KSpaceSlice | KSpaceVolume,
    reason: str,
    *,
    tick: Callable[[], None] | None = None,
) -> ReconImage:
    """Return an image without the model; samples that are not finite count as not measured.

    Parameters
    ----------
    recon
        Calibrates the slice, or every readout position of the volume.
    measured
        A 3-D scan is reconstructed position by position.
    reason
        Why the model could not be used, one line; becomes `ReconReport.fallback`.
    tick
        Called once per readout position of a volume, for progress.
    """
    if isinstance(measured, KSpaceSlice):
        low_resolution, report = _low_resolution(recon, measured, reason)
        shape = hr_shape((low_resolution.shape[-2], low_resolution.shape[-1]))
        return ReconImage(
            image=sinc_interpolate(low_resolution, shape)[0].cpu(),
            low_resolution=low_resolution[0].cpu(),
            geometry=measured.geometry,
            counters=measured.counters,
            stamp=measured.stamp,
            report=report,
        )
    target = VolumeImage(measured)
    for x in range(measured.n_positions):
        checkpoint()
        plane = fallback_image(recon, measured.position(x), reason)
        target.put([x], plane.image[None], plane.low_resolution[None])
        if tick:
            tick()
    report = dataclasses.replace(plane.report, n_readout=measured.n_positions)
    return target.finished(measured, report)


def _low_resolution(
    recon: Reconstructor, slice_: KSpaceSlice, reason: str
) -> tuple[Tensor, ReconReport]:
    """Return the image on the LR grid, complex ``(1, y, x)``, and its report."""
    slice_ = _without_bad_samples(slice_)
    try:
        calibrated = recon.calibrated(slice_)
        sense = calibrated.sense
        central = sense.low_resolution_kspace(calibrated.kspace)
        image = CgSense()(central, sense.single_map().at_low_resolution())
        image = calibrated.scale * put_back(image, calibrated.folded)
        method = "cg-sense+sinc"
    except ValueError:
        central = crop_or_pad(slice_.kspace, slice_.lr_shape)
        combined = ifft2c(central).abs().square().sum(0, keepdim=True).sqrt()
        image = combined.to(torch.complex64)
        method = "zero-filled+sinc"
    report = ReconReport(
        model=method,
        fallback=reason,
        acceleration=slice_.acceleration,
        n_readout=slice_.kspace.shape[-1],
        warnings=slice_.notes,
    )
    return image, report


def _without_bad_samples(slice_: KSpaceSlice) -> KSpaceSlice:
    """Return the slice with samples that are not finite marked as not measured."""
    if is_finite(slice_.kspace):
        return slice_
    good = torch.isfinite(torch.view_as_real(slice_.kspace)).all(-1)
    kspace = torch.where(good, slice_.kspace, torch.zeros_like(slice_.kspace))
    mask = slice_.mask * good.all(0)
    acs = slice_.acs
    if not is_finite(acs):
        try:
            acs = cut_acs(kspace, mask)
        except ValueError:
            acs = acs[:, :0, :0]
    return dataclasses.replace(slice_, kspace=kspace, mask=mask, acs=acs)
