"""Volumes of magnitude images: NIfTI-1 files and folders of DICOM slices.

The longer in-plane axis becomes the readout. NIfTI is read here (a header of 348 bytes and an
array), DICOM through pydicom.
"""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .base import Source, SourceError, anonymous, named_subject, normalised, own_split

_DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_HEADER = 348


def _oriented(plane: np.ndarray) -> Tensor:
    """Return ``(y, x)`` with x the longer axis, maximum 1."""
    image = torch.from_numpy(np.ascontiguousarray(plane, dtype=np.float32))
    if not bool(torch.isfinite(image).all()):
        image = torch.nan_to_num(image, posinf=0.0, neginf=0.0)
    image = image.T.contiguous() if image.shape[0] > image.shape[1] else image
    return normalised(image)


class Nifti(Source):
    """One NIfTI-1 volume; slices along its third axis."""

    kind = "nifti"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._volume: np.ndarray | None = None
        n = self._load().shape[2]
        self.subjects, self.splits = [named_subject(path)] * n, [own_split(path)] * n

    def _load(self) -> np.ndarray:
        if self._volume is None:
            self._volume = read_nifti(self.path)
        return self._volume

    def read(self, index: int) -> Tensor:
        """Return slice `index`."""
        return _oriented(self._load()[:, :, index])

    def __getstate__(self) -> dict[str, Any]:
        # Workers read the volume again instead of getting it through a pipe.
        return {**vars(self), "_volume": None}


def read_nifti(path: Path) -> np.ndarray:
    """Return the volume ``(i, j, k)`` as float32, scaled as its header says.

    Raises
    ------
    SourceError
        Not NIfTI-1 in one file, a type or shape that is no magnitude volume, cut off.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content = file.read()
    except (EOFError, gzip.BadGzipFile) as error:
        raise SourceError(f"{path.name}: gzip data are cut off or damaged") from error
    if len(content) < _HEADER or content[344:347] != b"n+1":
        raise SourceError(f"{path.name}: not a NIfTI-1 file (.nii)")
    order = "<" if struct.unpack("<i", content[:4])[0] == _HEADER else ">"
    dims = struct.unpack(f"{order}8h", content[40:56])
    code = struct.unpack(f"{order}h", content[70:72])[0]
    offset, slope, shift = struct.unpack(f"{order}3f", content[108:120])
    shape = dims[1 : 1 + dims[0]] if 1 <= dims[0] <= 7 else ()
    if len(shape) < 2 or any(n != 1 for n in shape[3:]) or min(shape) < 1:
        raise SourceError(f"{path.name}: shape {tuple(shape)} is not that of one volume")
    if code not in _DTYPES:
        raise SourceError(f"{path.name}: data type {code} is not a magnitude")
    shape = (*shape[:3], 1)[:3] if len(shape) == 2 else shape[:3]
    dtype, n = np.dtype(order + _DTYPES[code]), int(np.prod(shape))
    data = content[int(offset) : int(offset) + n * dtype.itemsize]
    if len(data) < n * dtype.itemsize:
        raise SourceError(f"{path.name}: {len(data)} bytes of data, header says {n} values")
    volume = np.frombuffer(data, dtype).reshape(shape, order="F").astype(np.float32)
    return volume * slope + shift if slope not in (0.0,) and np.isfinite(slope) else volume


class DicomFolder(Source):
    """The DICOM slices of a folder; every patient is a subject, named by a hash."""

    kind = "dicom"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        found = []
        for file in sorted(p for p in path.iterdir() if p.is_file() and is_dicom(p)):
            head = _pydicom(file).dcmread(file, stop_before_pixels=True)
            if "Rows" in head:
                series, number = head.get("SeriesInstanceUID", ""), head.get("InstanceNumber", 0)
                patient = str(head.get("PatientID", "") or head.get("StudyInstanceUID", path.name))
                found.append((str(series), int(number or 0), file, anonymous(patient)))
        found.sort(key=lambda entry: entry[:3])
        self._files = [entry[2] for entry in found]
        self.subjects = [entry[3] for entry in found]
        self.splits = [own_split(path)] * len(found)

    def files(self) -> list[Path]:
        """Return the files in the order of their slices."""
        return self._files

    def read(self, index: int) -> Tensor:
        """Return slice `index` with its rescale slope and intercept applied."""
        file = self._files[index]
        data = _pydicom(file).dcmread(file)
        pixels = data.pixel_array.astype(np.float32)
        if pixels.ndim != 2:
            raise SourceError(
                f"{file.name}: pixel data of shape {pixels.shape}, not one grey image"
            )
        slope, shift = data.get("RescaleSlope", 1), data.get("RescaleIntercept", 0)
        return _oriented(pixels * float(slope) + float(shift))


def is_dicom(path: Path) -> bool:
    """Whether a file carries the DICOM magic after its preamble."""
    with path.open("rb") as file:
        file.seek(128)
        return file.read(4) == b"DICM"


def _pydicom(path: Path) -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise SourceError(f"{path.name}: reading DICOM needs the package pydicom") from error
    return pydicom
