"""The fallback image: a conventional reconstruction where the model cannot be used.

CG-SENSE where coil maps can be estimated and explain the measurement, else the root sum of squares
of the zero-filled coil images, which erases nothing. Either is interpolated to the HR grid by
zero-padding its k-space. The report of the image is marked with the reason.

The zero-filled image is the last resort and cannot fail: it needs no calibration, is computed on
the CPU in double precision from k-space scaled to 1, and is finite for any samples.
"""

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from jrsr_core.acs import cut_acs
from jrsr_core.calibration.fold_over import put_back
from jrsr_core.calibration.stated_noise import without_excessive_noise
from jrsr_core.common.cancellation import Cancelled, checkpoint
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage, ReconReport
from jrsr_core.matrix import hr_shape
from jrsr_core.models.cg_sense import CgSense
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import crop_or_pad, sinc_interpolate
from jrsr_core.tensors import energy, is_finite

from .contradiction import contradiction
from .quality import expected_residual
from .report import SIGNIFICANT
from .slices import SliceReconstructor
from .volume import VolumeImage
from .warnings import group_warnings

ZERO_FILLED = "zero-filled+sinc"


@torch.inference_mode()
def fallback_image(
    recon: SliceReconstructor,
    measured: KSpaceSlice | KSpaceVolume,
    reason: str,
    *,
    tick: Callable[[], None] | None = None,
) -> ReconImage:
    """Return a finite image without the model; samples that are not finite count as not measured.

    Parameters
    ----------
    recon
        Calibrates the slice, or every readout position of the volume.
    measured
        A 3-D scan is reconstructed position by position, all of them by one method.
    reason
        Why the model could not be used, one line; becomes `ReconReport.fallback`.
    tick
        Called once per readout position of a volume, for progress.
    """
    measured = _with_checked_noise(measured)
    if isinstance(measured, KSpaceSlice):
        image, low_resolution, report = _images(recon, _without_bad_samples(measured))
        return ReconImage(
            image=image,
            low_resolution=low_resolution,
            geometry=measured.geometry,
            counters=measured.counters,
            stamp=measured.stamp,
            report=dataclasses.replace(
                report,
                fallback=reason,
                acceleration=measured.acceleration,
                n_readout=measured.n_readout,
                warnings=measured.notes + report.warnings,
            ),
        )
    return _volume_image(recon, measured, reason, tick or (lambda: None))


def _with_checked_noise(measured: KSpaceSlice | KSpaceVolume) -> KSpaceSlice | KSpaceVolume:
    """Return `without_excessive_noise`, or the data as they are if their noise has no estimate."""
    try:
        return without_excessive_noise(measured)
    except Cancelled:
        raise
    except Exception:
        # There is an image all the same: the zero-filled one needs no noise level.
        return measured


def _volume_image(
    recon: SliceReconstructor, volume: KSpaceVolume, reason: str, tick: Callable[[], None]
) -> ReconImage:
    """Return a volume by CG-SENSE, or zero-filled if a position with signal has no such image.

    The scales of both differ, so they are not mixed among positions with signal.
    """
    target, planes = VolumeImage(volume), []
    for x in range(volume.n_positions):
        checkpoint()
        slice_ = _without_bad_samples(volume.position(x))
        image, low_resolution, report = _images(recon, slice_)
        target.put([x], image[None], low_resolution[None])
        planes.append((float(energy(slice_.kspace)), report))
        tick()
    least = SIGNIFICANT * max(power for power, _ in planes)
    strong = [(power, report) for power, report in planes if power >= least]
    is_zero_filled = any(report.model == ZERO_FILLED for _, report in strong)
    if is_zero_filled:
        for x in range(volume.n_positions):
            checkpoint()
            slice_ = _without_bad_samples(volume.position(x))
            image, low_resolution = _zero_filled(slice_)
            target.put([x], image[None], low_resolution[None])
    grouped = group_warnings(report.warnings for _, report in strong)
    report = ReconReport(model=ZERO_FILLED) if is_zero_filled else _mean_report(strong)
    return target.finished(
        volume,
        dataclasses.replace(
            report,
            fallback=reason,
            acceleration=volume.acceleration,
            n_readout=volume.n_readout,
            warnings=volume.notes + tuple(grouped),
        ),
    )


def _mean_report(planes: list[tuple[float, ReconReport]]) -> ReconReport:
    """Return the report of planes together, given with the energy of their k-space."""
    total = sum(power for power, _ in planes)

    def mean(name: str) -> float:
        squares = sum(power * getattr(report, name) ** 2 for power, report in planes)
        return math.sqrt(squares / total) if total else math.nan

    return dataclasses.replace(
        planes[0][1],
        kspace_residual=mean("kspace_residual"),
        expected_residual=mean("expected_residual"),
    )


def _images(recon: SliceReconstructor, slice_: KSpaceSlice) -> tuple[Tensor, Tensor, ReconReport]:
    """Return HR and LR image ``(y, x)``, finite, and a report with the name of the method."""
    warnings: tuple[str, ...] = ()
    try:
        image, low_resolution, report = _cg_sense(recon, slice_)
        error = contradiction(report)
        if error is not None:
            warnings = (f"{error}: zero-filled coil images are combined, which may be aliased",)
        elif is_finite(image) and is_finite(low_resolution):
            return image, low_resolution, report
    except Cancelled:
        raise
    except Exception as error:
        # A GPU that failed; the caller tries it again on the CPU.
        if recon.device.type != "cpu" and not isinstance(error, ValueError):
            raise
    return (*_zero_filled(slice_), ReconReport(model=ZERO_FILLED, warnings=warnings))


def _cg_sense(recon: SliceReconstructor, slice_: KSpaceSlice) -> tuple[Tensor, Tensor, ReconReport]:
    # Samples that only some coils lack are in the zero-filled image alone.
    slice_ = dataclasses.replace(slice_, kspace=slice_.mask * slice_.kspace)
    calibrated = recon.calibrated(slice_)
    central = calibrated.sense.low_resolution_kspace(calibrated.kspace)
    sense = calibrated.sense.single_map().at_low_resolution()
    image = CgSense()(central, sense)
    norm = torch.linalg.vector_norm
    report = ReconReport(
        model="cg-sense+sinc",
        kspace_residual=float(norm(sense(image) - central) / norm(central)),
        expected_residual=expected_residual(calibrated),
    )
    image = (calibrated.scale * put_back(image, calibrated.folded))[0].cpu()
    return sinc_interpolate(image, hr_shape(slice_.lr_shape)), image, report


def _zero_filled(slice_: KSpaceSlice) -> tuple[Tensor, Tensor]:
    central = crop_or_pad(slice_.kspace, slice_.lr_shape).cpu().to(torch.complex128)
    peak = torch.view_as_real(central).abs().max().clamp_min(torch.finfo(torch.float64).tiny)
    combined = ifft2c(central / peak).abs().square().sum(0).sqrt()
    interpolated = sinc_interpolate(combined, hr_shape(slice_.lr_shape))
    largest = torch.finfo(torch.float32).max
    hr, lr = (
        (peak * image).clamp(-largest, largest).to(torch.complex64)
        for image in (interpolated, combined)
    )
    return hr, lr


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
