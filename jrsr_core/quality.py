"""How far a finished image agrees with what was measured.

    residual = |M (A x - b)| / |b|   over the measured samples of all coils

At the level of the noise, sqrt(n_samples) sigma / |b|, an image explains the measurement; above
it something was changed, below it noise was fitted. A magnitude image gets the smooth phase of
the LR reconstruction before the test.
"""

import torch
from torch import Tensor

from .calibration.calibrate import CalibratedSlice
from .models.interfaces import ModelOutput
from .models.phase import smooth_phase


def kspace_residual(output: ModelOutput, calibrated: CalibratedSlice) -> float:
    """Return the relative k-space residual of the HR image of one slice."""
    image = output.image
    if not image.is_complex():
        _, phase = smooth_phase(output.low_resolution, calibrated.sense.image_shape)
        image = image * phase
    difference = calibrated.sense.single_map()(image) - calibrated.kspace
    return float(_relative(difference, calibrated.kspace))


def expected_residual(calibrated: CalibratedSlice) -> float:
    """Return the residual that the noise alone explains."""
    n_coils = calibrated.kspace.shape[1]
    n_samples = n_coils * float(calibrated.sense.mask.sum())
    norm = torch.linalg.vector_norm(calibrated.kspace)
    return float(calibrated.noise_std * n_samples**0.5 / norm)


def _relative(difference: Tensor, reference: Tensor) -> Tensor:
    return torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(reference)
