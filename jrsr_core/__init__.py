"""Joint MR image reconstruction and super-resolution: physics, calibration, models, pipeline.

What is listed here is the public interface; every other import path may change. Importing the
package loads no torch and changes nothing outside it: a name imports its module on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .acs import find_acs
    from .calibration.compression import CoilCompressor
    from .calibration.espirit import espirit_maps
    from .calibration.settings import CalibrationSettings
    from .calibration.whitening import whitening_matrix
    from .data import KSpaceSlice, KSpaceVolume, ReconImage, SliceGeometry
    from .metrics.image import nmse, psnr, ssim
    from .metrics.resolution import effective_resolution
    from .models.interfaces import JointModel, ModelOutput, ReconModel, UpsampleModel
    from .models.interpolation import BicubicUpsample
    from .models.names import MODEL_NAMES
    from .models.registry import build_model, register_model
    from .mrd.errors import BadScan, PartialImage, UnsupportedScan
    from .mrd.files.scan_slices import read_scan
    from .mrd.header.encoding import Encoding
    from .physics.fourier import FourierOperator
    from .physics.operator import LinearOperator
    from .physics.pointwise import CoilOperator, SamplingOperator
    from .physics.resolution import KSpaceCropOperator
    from .physics.sense import SenseOperator
    from .physics.solvers import conjugate_gradient
    from .reconstruction.load import load_model
    from .reconstruction.reconstructor import Reconstructor
    from .weights.card import CardError, WeightsCard
    from .weights.load import load_weights

__all__ = [
    "MODEL_NAMES",
    "BadScan",
    "BicubicUpsample",
    "CalibrationSettings",
    "CardError",
    "CoilCompressor",
    "CoilOperator",
    "Encoding",
    "FourierOperator",
    "JointModel",
    "KSpaceCropOperator",
    "KSpaceSlice",
    "KSpaceVolume",
    "LinearOperator",
    "ModelOutput",
    "PartialImage",
    "ReconImage",
    "ReconModel",
    "Reconstructor",
    "SamplingOperator",
    "SenseOperator",
    "SliceGeometry",
    "UnsupportedScan",
    "UpsampleModel",
    "WeightsCard",
    "build_model",
    "conjugate_gradient",
    "effective_resolution",
    "espirit_maps",
    "find_acs",
    "load_model",
    "load_weights",
    "nmse",
    "psnr",
    "read_scan",
    "register_model",
    "ssim",
    "whitening_matrix",
]

_MODULES = {
    "MODEL_NAMES": "models.names",
    "BadScan": "mrd.errors",
    "BicubicUpsample": "models.interpolation",
    "CalibrationSettings": "calibration.settings",
    "CardError": "weights.card",
    "CoilCompressor": "calibration.compression",
    "CoilOperator": "physics.pointwise",
    "Encoding": "mrd.header.encoding",
    "FourierOperator": "physics.fourier",
    "JointModel": "models.interfaces",
    "KSpaceCropOperator": "physics.resolution",
    "KSpaceSlice": "data",
    "KSpaceVolume": "data",
    "LinearOperator": "physics.operator",
    "ModelOutput": "models.interfaces",
    "PartialImage": "mrd.errors",
    "ReconImage": "data",
    "ReconModel": "models.interfaces",
    "Reconstructor": "reconstruction.reconstructor",
    "SamplingOperator": "physics.pointwise",
    "SenseOperator": "physics.sense",
    "SliceGeometry": "data",
    "UnsupportedScan": "mrd.errors",
    "UpsampleModel": "models.interfaces",
    "WeightsCard": "weights.card",
    "build_model": "models.registry",
    "conjugate_gradient": "physics.solvers",
    "effective_resolution": "metrics.resolution",
    "espirit_maps": "calibration.espirit",
    "find_acs": "acs",
    "load_model": "reconstruction.load",
    "load_weights": "weights.load",
    "nmse": "metrics.image",
    "psnr": "metrics.image",
    "read_scan": "mrd.files.scan_slices",
    "register_model": "models.registry",
    "ssim": "metrics.image",
    "whitening_matrix": "calibration.whitening",
}


__version__: str
"""Version of the installed distribution, found on first use; "unknown" if it is not installed."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module(f"{__name__}.common.version").software_version()
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
