"""Joint MR image reconstruction and super-resolution: physics, calibration, models, pipeline.

What is listed here is the public interface; every other import path may change.
"""

from jrsr_core.calibration.acs import find_acs
from jrsr_core.calibration.compression import CoilCompressor
from jrsr_core.calibration.espirit import espirit_maps
from jrsr_core.calibration.whitening import whitening_matrix
from jrsr_core.physics.coils import CoilOperator
from jrsr_core.physics.fourier import FourierOperator
from jrsr_core.physics.operator import LinearOperator
from jrsr_core.physics.resolution import KSpaceCropOperator
from jrsr_core.physics.sampling import SamplingOperator
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.physics.solvers import conjugate_gradient
from jrsr_core.reconstruction.reconstructor import Reconstructor

from .data import Encoding, KSpaceSlice, ReconImage, SliceGeometry
from .metrics import nmse, psnr, ssim
from .models import MODEL_NAMES, build_model
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
