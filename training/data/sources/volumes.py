"""Volumes of magnitude images: NIfTI files and folders of DICOM slices.

The longer in-plane axis becomes the readout.
"""

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .base import Source, SourceError, anonymous, named_subject, normalised, own_split

if TYPE_CHECKING:
    from nibabel import Nifti1Image


def _oriented(plane: np.ndarray) -> Tensor:
    """Return ``(y, x)`` with x the longer axis, maximum 1."""
    image = torch.from_numpy(np.ascontiguousarray(plane, dtype=np.float32))
    if not bool(torch.isfinite(image).all()):
        image = torch.nan_to_num(image, posinf=0.0, neginf=0.0)
    image = image.T.contiguous() if image.shape[0] > image.shape[1] else image
    return normalised(image)


class Nifti(Source):
    """One NIfTI volume; slices along its third stored axis, which is that of the acquisition."""

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
    """Return a volume ``(i, j, slice)`` as float32, scaled as its header says.

    Where the header has an orientation, all axes point to the right, anterior or superior (RAS+)
    and i comes before j in this order.

    Raises
    ------
    SourceError
        nibabel is not installed, or the file is not NIfTI, cut off, or no magnitude volume.
    """
    image, volume = _load(path)
    if not _is_oriented(image):
        return volume
    axes, signs = _orientation(image)
    flipped = tuple(axis for axis, sign in enumerate(signs) if sign < 0)
    volume = np.flip(volume, flipped)
    return volume.swapaxes(0, 1) if axes[0] > axes[1] else volume


def read_oriented(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Return a volume, float32, with axes to the right, anterior and superior, and its voxel in mm.

    Raises
    ------
    SourceError
        As `read_nifti`, or the header states no orientation.
    """
    image, volume = _load(path)
    if not _is_oriented(image):
        raise SourceError(f"{path.name}: the header states no orientation (qform and sform are 0)")
    axes, signs = _orientation(image)
    volume = np.flip(volume, tuple(axis for axis, sign in enumerate(signs) if sign < 0))
    order = tuple(int(i) for i in np.argsort(axes))
    x, y, z = (float(image.header.get_zooms()[i]) for i in order)
    return volume.transpose(order), (x, y, z)


def _is_oriented(image: "Nifti1Image") -> bool:
    return bool(image.header["sform_code"] or image.header["qform_code"])


def _orientation(image: "Nifti1Image") -> np.ndarray:
    """Return, per stored axis, the axis of RAS that it follows, and its sign."""
    import nibabel

    return nibabel.io_orientation(image.affine).T


def _load(path: Path) -> tuple["Nifti1Image", np.ndarray]:
    """Return a NIfTI image and its volume ``(i, j, k)`` as float32, scaled as its header says."""
    try:
        import nibabel
    except ImportError as error:
        raise SourceError(f"{path.name}: reading NIfTI needs the package nibabel") from error
    damaged = nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError
    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Image):
            raise SourceError(f"{path.name}: {type(image).__name__}, not a NIfTI file")
        _check_volume(path, image)
        volume = image.get_fdata(dtype=np.float32, caching="unchanged")
    except SourceError:
        raise
    except (*damaged, EOFError, OSError, ValueError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{path.name}: not a NIfTI file, or cut off ({reason})") from error
    return image, volume.reshape((*volume.shape[:3], 1)[:3])


def _check_volume(path: Path, image: "Nifti1Image") -> None:
    shape, dtype = image.shape, image.get_data_dtype()
    if len(shape) < 2 or any(n != 1 for n in shape[3:]) or min(shape) < 1:
        raise SourceError(f"{path.name}: shape {tuple(shape)} is not that of one volume")
    if dtype.kind not in "iuf":
        raise SourceError(f"{path.name}: data type {dtype} is not a magnitude")


class DicomFolder(Source):
    """The DICOM slices of a folder; every patient is a subject, named by a hash."""

    kind = "dicom"
    one_matrix = False  # There may be several series.

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
        data, pixels = _read_dicom(file)
        if pixels.ndim != 2:
            raise SourceError(
                f"{file.name}: pixel data of shape {pixels.shape}, not one grey image"
            )
        slope, shift = data.get("RescaleSlope", 1), data.get("RescaleIntercept", 0)
        return _oriented(pixels * float(slope) + float(shift))


def _read_dicom(file: Path) -> tuple[Any, np.ndarray]:
    """Return the data set and the stored pixels of a file.

    Raises
    ------
    SourceError
        There are no pixels, they are damaged, or no installed package decompresses them.
    """
    try:
        data = _pydicom(file).dcmread(file)
        return data, data.pixel_array.astype(np.float32)
    # pydicom raises these for a missing decoder, missing elements, and pixels that are cut off.
    except (RuntimeError, NotImplementedError, AttributeError, ValueError, EOFError) as error:
        if isinstance(error, SourceError):
            raise
        reason = " ".join(str(error).split())
        raise SourceError(f"{file.name}: its pixels cannot be read ({reason})") from error


def is_dicom(path: Path) -> bool:
    """Return whether a file has the DICOM prefix after its preamble."""
    with path.open("rb") as file:
        file.seek(128)
        return file.read(4) == b"DICM"


def _pydicom(path: Path) -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise SourceError(f"{path.name}: reading DICOM needs the package pydicom") from error
    return pydicom
