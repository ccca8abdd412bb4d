"""Image stacks: HDF5 files of magnitude images, the objects that are scanned.

The data set ``slices`` (n, readout, phase encode) has pixels of any number type; complex ones stand
for their magnitude. ``subject`` (n) names the subject of each slice; a file without it is one
subject. The attribute ``pixel_mm`` is the HR pixel.
"""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from jrsr_core.arrays import Array, as_tensor

AXES = ("n", "readout", "phase encode")


def as_magnitude(stored: Array) -> Tensor:
    """Return the magnitudes of stored pixels, float32 of the same shape.

    Complex values become their magnitude. Negative ones, which no magnitude has, become 0: they
    come from interpolation or from padding.
    """
    pixels = as_tensor(stored)
    pixels = pixels.abs() if pixels.is_complex() else pixels
    return pixels.to(torch.float32).clamp_min(0)


def checked_dataset(file: h5py.File, name: str, axes: Sequence[str]) -> h5py.Dataset:
    """Return a data set of numbers with these axes.

    Raises
    ------
    ValueError
        No such data set, one of other axes or without numbers; both sides are named.
    """
    if name not in file:
        raise ValueError(f"{file.filename}: no data set {name!r}, found {sorted(file)}")
    found, what = file[name], f"{file.filename}: {name!r}"
    if len(_shape(found)) != len(axes) or min(_shape(found)[1:]) < 1:
        raise ValueError(f"{what} is {_described(found)}, expected ({', '.join(axes)})")
    as_tensor(np.empty(0, found.dtype), what)
    return found


class StackFile:
    """The slices of an open image stack; `ValueError` for a file of another layout."""

    def __init__(self, file: h5py.File) -> None:
        self._file, self._path = file, file.filename
        self._slices = checked_dataset(file, "slices", AXES)

    def __len__(self) -> int:
        return len(self._slices)

    def subjects(self) -> list[str]:
        """Return the subject of every slice; numbers are names as well.

        Raises
        ------
        ValueError
            ``subject`` has not one value per slice.
        """
        if "subject" not in self._file:
            return [Path(self._path).stem] * len(self)
        stored, wanted = self._file["subject"], (len(self),)
        if _shape(stored) != wanted:
            raise ValueError(
                f"{self._path}: 'subject' is {_described(stored)}, expected {wanted}: one per slice"
            )
        return [s.decode() if isinstance(s, bytes) else str(s) for s in stored[:]]

    def pixel_mm(self) -> float | None:
        """Return the HR pixel; None where the file states none, or one that is not square."""
        pixel = np.asarray(self._file.attrs.get("pixel_mm", np.nan), dtype=float).ravel()
        is_square = len(pixel) > 0 and np.all(pixel == pixel[0]) and pixel[0] > 0
        return float(pixel[0]) if is_square else None

    def stored(self, index: int) -> np.ndarray:
        """Return the pixels of slice `index` as they are stored, ``(readout, phase encode)``.

        Raises
        ------
        ValueError
            No such slice, or HDF5 cannot read it.
        """
        if not 0 <= index < len(self):
            raise ValueError(f"{self._path}: slice {index} asked for, the file has {len(self)}")
        try:
            return self._slices[index]
        except OSError as error:
            raise _unreadable(self._path, error) from None

    def read(self, index: int) -> Tensor:
        """Return the magnitude of slice `index`, ``(y, x)``: the first stored axis becomes x."""
        return as_magnitude(self.stored(index)).T.contiguous()


def load_image(path: str | Path, index: int) -> Tensor:
    """Return the magnitude ``(y, x)`` of slice `index` of an image stack.

    A slice with values above 1 is divided by its largest.

    Raises
    ------
    ValueError
        No image stack, too few slices, or a broken file.
    FileNotFoundError, PermissionError
        No such file, or not readable for this user.
    """
    try:
        file = h5py.File(path, "r")
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise _unreadable(path, error) from None
    with file:
        image = StackFile(file).read(index)
    return image / image.max().clamp_min(1.0)


def _unreadable(path: str | Path, error: OSError) -> ValueError:
    words = " ".join(str(error).split())
    return ValueError(f"{path}: HDF5 cannot read it, the file may be cut off ({words})")


def _shape(found: h5py.Group | h5py.Dataset) -> tuple[int, ...]:
    """Return the shape of a data set; a group or an empty data set has no axis."""
    return getattr(found, "shape", None) or ()


def _described(found: h5py.Group | h5py.Dataset) -> str:
    return str(_shape(found)) if isinstance(found, h5py.Dataset) else "a group"
