"""Input and output of a reconstruction: one slice or volume of k-space, one image.

Frozen dataclasses. Sizes are ordered like array axes, ``(z, y, x)``; lengths are in mm; times in
ms; directions are unit vectors in DICOM patient coordinates (L, P, S), as in ISMRMRD. Importing
this package does not import torch.
"""

from .geometry import SliceGeometry, Vector, nifti_affine
from .image import MAP_ALARM, MAP_MEANING, UNITLESS_MAPS, ReconImage, ReconReport
from .kspace import KSpaceSlice
from .origin import AcquisitionStamp, Counters, ScanOrigin
from .volume import KSpaceVolume

__all__ = [
    "MAP_ALARM",
    "MAP_MEANING",
    "UNITLESS_MAPS",
    "AcquisitionStamp",
    "Counters",
    "KSpaceSlice",
    "KSpaceVolume",
    "ReconImage",
    "ReconReport",
    "ScanOrigin",
    "SliceGeometry",
    "Vector",
    "nifti_affine",
]
