"""Joint MR image reconstruction and super-resolution: physics, calibration, models, pipeline.

What is listed here is the public interface; every other import path may change.
"""

from .calibration.acs import find_acs
from .calibration.compression import CoilCompressor
from .calibration.espirit import espirit_maps
from .calibration.whitening import whitening_matrix
from .geometry import Encoding, KSpaceSlice, ReconImage, SliceGeometry
from .metrics import nmse, psnr, ssim
from .models import MODEL_NAMES, build_model
from .physics.coils import CoilOperator
from .physics.fourier import FourierOperator
from .physics.operator import LinearOperator
from .physics.resolution import KSpaceCropOperator
from .physics.sampling import SamplingOperator
from .physics.sense import SenseOperator
from .physics.solvers import conjugate_gradient
from .pipeline import Reconstructor
from .weights import WeightsCard, load_weights

__all__ = [
    "MODEL_NAMES",
    "CoilCompressor",
    "CoilOperator",
    "Encoding",
    "FourierOperator",
    "KSpaceCropOperator",
    "KSpaceSlice",
    "LinearOperator",
    "ReconImage",
    "Reconstructor",
    "SamplingOperator",
    "SenseOperator",
    "SliceGeometry",
    "WeightsCard",
    "build_model",
    "conjugate_gradient",
    "espirit_maps",
    "find_acs",
    "load_weights",
    "nmse",
    "psnr",
    "ssim",
    "whitening_matrix",
]
