"""Figures of the report of one slice: of its scan, and of its image."""

import math

from .calibration.calibrate import CalibratedSlice
from .geometry import KSpaceSlice
from .models.interfaces import ModelOutput
from .quality import expected_residual, kspace_residual, relative_size
from .trust import image_warnings, signal_to_noise_db
from .weights import WeightsCard


def scan_figures(slice_: KSpaceSlice, calibrated: CalibratedSlice) -> dict:
    """Return what was measured, by the names of `ReconReport`."""
    return {
        "noise_std": float(calibrated.noise_std) * calibrated.scale,
        "acceleration": slice_.acceleration,
        "acs_shape": calibrated.acs_shape,
        "n_readout": slice_.kspace.shape[-1],
        "n_virtual_coils": calibrated.kspace.shape[1],
    }


def image_figures(
    cards: tuple[WeightsCard, ...],
    slice_: KSpaceSlice,
    calibrated: CalibratedSlice,
    output: ModelOutput,
    whole: ModelOutput,
) -> dict:
    """Return what came out and what makes it suspect, by the names of `ReconReport`.

    `whole` is the output with what was folded onto it.
    """
    residual = math.nan if output.residual is None else float(output.residual.max())
    snr_db = signal_to_noise_db(output.low_resolution, float(calibrated.noise_std))
    folded = calibrated.folded
    size = 0.0 if folded is None else relative_size(folded, whole.image)
    residuals = kspace_residual(output, calibrated), expected_residual(calibrated)
    warnings = image_warnings(
        cards,
        folded=size,
        fixed_point_residual=residual,
        residuals=residuals,
        n_coils=calibrated.kspace.shape[1],
        acceleration=slice_.acceleration,
        n_acs=min(calibrated.acs_shape),
        hr_size=calibrated.sense.image_shape,
        noise_db=snr_db,
    )
    return {
        "iterations": output.iterations,
        "fixed_point_residual": residual,
        "kspace_residual": residuals[0],
        "expected_residual": residuals[1],
        "snr_db": snr_db,
        "folded": size,
        "warnings": warnings,
    }
