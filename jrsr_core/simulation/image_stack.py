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
from jrsr_core.tensors import is_finite

AXES = ("n", "readout", "phase encode")


class StackError(ValueError):
    """A file whose values cannot be used: HDF5 cannot read them, or they are not finite."""


class StackLayoutError(StackError):
    """A file of another layout, or without the slice that is asked for."""


def check_finite(data: Tensor, name: str) -> None:
    """Raise `StackError` for NaN and infinite values: one would reach every value of a scan."""
    if not is_finite(data):
        raise StackError(f"{name}: values are NaN or infinite: leave it out, or repair it")


def as_magnitude(stored: Array, name: str) -> Tensor:
    """Return the magnitudes of stored pixels, float32 of the same shape.

    Complex values become their magnitude. Negative ones, which no magnitude has, become 0: they
    come from interpolation or from padding.

    Raises
    ------
    StackError
        Values that are not finite in float32; the message begins with `name`.
    """
    pixels = as_tensor(stored, name)
    pixels = (pixels.abs() if pixels.is_complex() else pixels).to(torch.float32)
    check_finite(pixels, name)
    return pixels.clamp_min(0)


def checked_dataset(file: h5py.File, name: str, axes: Sequence[str]) -> h5py.Dataset:
    """Return a data set of numbers with these axes.

    Raises
    ------
    StackLayoutError
        No such data set, one of other axes or without numbers; both sides are named.
    """
    if name not in file:
        raise StackLayoutError(f"{file.filename}: no data set {name!r}, found {sorted(file)}")
    found, what = file[name], f"{file.filename}: {name!r}"
    if len(_shape(found)) != len(axes) or min(_shape(found)[1:]) < 1:
        raise StackLayoutError(f"{what} is {_described(found)}, expected ({', '.join(axes)})")
    try:
        as_tensor(np.empty(0, found.dtype), what)
    except ValueError as error:
        raise StackLayoutError(str(error)) from None
    return found


class StackFile:
    """The slices of an open image stack; `StackLayoutError` for a file of another layout."""

    def __init__(self, file: h5py.File) -> None:
        self._file, self._path = file, file.filename
        self._slices = checked_dataset(file, "slices", AXES)
        self._check_subject()

    def _check_subject(self) -> None:
        """Refuse subjects that are not one per slice."""
        stored, wanted = self._file.get("subject"), (len(self),)
        if stored is not None and _shape(stored) != wanted:
            raise StackLayoutError(
                f"{self._path}: 'subject' is {_described(stored)}, expected {wanted}: one per slice"
            )

    def __len__(self) -> int:
        return len(self._slices)

    def subjects(self) -> list[str]:
        """Return the subject of every slice; numbers are names as well.

        Raises
        ------
        StackError
            HDF5 cannot read them.
        """
        if "subject" not in self._file:
            return [Path(self._path).stem] * len(self)
        stored = _read(self._file["subject"], slice(None))
        return [s.decode() if isinstance(s, bytes) else str(s) for s in stored]

    def pixel_mm(self) -> float | None:
        """Return the HR pixel; None where the file states none, or one that is not square."""
        pixel = np.asarray(self._file.attrs.get("pixel_mm", np.nan), dtype=float).ravel()
        is_square = len(pixel) > 0 and np.all(pixel == pixel[0]) and pixel[0] > 0
        return float(pixel[0]) if is_square else None

    def stored(self, index: int) -> np.ndarray:
        """Return the pixels of slice `index` as they are stored, ``(readout, phase encode)``.

        Raises
        ------
        StackLayoutError
            No such slice.
        StackError
            HDF5 cannot read it.
        """
        if not 0 <= index < len(self):
            raise StackLayoutError(
                f"{self._path}: slice {index} asked for, the file has {len(self)}"
            )
        return _read(self._slices, index)

    def read(self, index: int) -> Tensor:
        """Return the magnitude of slice `index`, ``(y, x)``: the first stored axis becomes x.

        Raises
        ------
        StackError
            Values that are not finite; errors of `stored`.
        """
        return as_magnitude(self.stored(index), f"{self._path}: slice {index}").T.contiguous()


def load_image(path: str | Path, index: int) -> Tensor:
    """Return the magnitude ``(y, x)`` of slice `index` of an image stack.

    A slice with values above 1 is divided by its largest.

    Raises
    ------
    StackLayoutError
        No image stack, or too few slices.
    StackError
        A broken file, or values that are not finite.
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


def _read(stored: h5py.Dataset, part: int | slice) -> np.ndarray:
    try:
        return stored[part]
    except OSError as error:
        raise _unreadable(stored.file.filename, error) from None


def _unreadable(path: str | Path, error: OSError) -> StackError:
    words = " ".join(str(error).split())
    return StackError(f"{path}: HDF5 cannot read it, the file may be cut off ({words})")


def _shape(found: h5py.Group | h5py.Dataset) -> tuple[int, ...]:
    """Return the shape of a data set; a group or an empty data set has no axis."""
    return getattr(found, "shape", None) or ()


def _described(found: h5py.Group | h5py.Dataset) -> str:
    return str(_shape(found)) if isinstance(found, h5py.Dataset) else "a group"
