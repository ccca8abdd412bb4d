"""Reads arrays of MATLAB files: up to version 7 with SciPy, 7.3 (HDF5) with h5py.

The axes are those of MATLAB, in its order; HDF5 stores them in the opposite one.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from gadget.errors import UsageError
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.files.hdf5 import open_file, reading
from jrsr_core.mrd.files.links import check_group

from .array_scan import REQUIRED, STATEMENTS, array_scan
from .memory import check_memory
from .scan import ImportedScan, Stated

NUMBERS = {"single", "double", *(f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64))}
LONGEST = 16
"""Bytes of the longest element, a complex double."""


def read_mat(path: Path, stated: Stated) -> ImportedScan:
    """Read the array `stated.variable`, or the only one that can be meant.

    Raises
    ------
    UsageError
        Statements that are missing or do not fit; no such array, or several.
    BadScan
        A broken file.
    """
    stated.check_used("a MATLAB file", STATEMENTS | {"variable"})
    stated.require("a MATLAB file", REQUIRED)
    axes = stated.axes or ()
    read = _read_7_3 if h5py.is_hdf5(path) else _read_7
    array = _with_dropped_axes(read(path, stated.variable, len(axes)), axes)
    return array_scan(array, axes, stated)


def _read_7(path: Path, wanted: str | None, n_axes: int) -> np.ndarray:
    from scipy.io import loadmat, whosmat

    # SciPy raises nearly anything on broken files.
    try:
        shapes = {name: shape for name, shape, kind in whosmat(path) if kind in NUMBERS}
        name = choose_array(shapes, wanted, n_axes)
        check_memory(LONGEST * math.prod(shapes[name]))
        found = loadmat(path, variable_names=[name])[name]
    except (UsageError, MemoryError):
        raise
    except Exception as error:
        raise BadScan(f"SciPy cannot read it ({' '.join(str(error).split())})") from None
    return np.asarray(found)


def _read_7_3(path: Path, wanted: str | None, n_axes: int) -> np.ndarray:
    with reading("unreadable"), open_file(path) as file:
        check_group(file)
        arrays = {
            name: data
            for name, data in file.items()
            if isinstance(data, h5py.Dataset) and _is_numbers(data)
        }
        name = choose_array({k: v.shape[::-1] for k, v in arrays.items()}, wanted, n_axes)
        check_memory(LONGEST * arrays[name].size)
        return np.asarray(arrays[name][()]).T


def _is_numbers(data: h5py.Dataset) -> bool:
    """Return whether this holds numbers; texts and truth values are stored as integers too."""
    kind = data.attrs.get("MATLAB_class")
    is_other = isinstance(kind, bytes) and kind.decode("ascii", "replace") not in NUMBERS
    return bool(data.dtype.names or data.dtype.kind in "fiu") and not is_other


def _with_dropped_axes(array: np.ndarray, axes: Sequence[str]) -> np.ndarray:
    """Return the array with the last axes of one element, which MATLAB does not store.

    An image has several samples along x and y: if one of them is missing, the axes are wrong, and
    the array is returned as it is.
    """
    dropped = axes[array.ndim :]
    if {"x", "y"} & {*dropped}:
        return array
    return array.reshape(*array.shape, *(1 for _ in dropped))


def choose_array(shapes: dict[str, tuple[int, ...]], wanted: str | None, n_axes: int) -> str:
    """Return the name of the array to read: `wanted`, or the only one that can be meant.

    Those of `n_axes` axes come before all others; a single number is never meant.

    Raises
    ------
    UsageError
        `wanted` is not there; without it, none or several can be meant.
    """
    found = ", ".join(f"{k} ({' x '.join(map(str, s))})" for k, s in shapes.items()) or "none"
    if wanted is not None:
        if wanted not in shapes:
            raise UsageError(f"--variable: no array {wanted!r} in the file, found: {found}")
        return wanted
    arrays = [name for name, shape in shapes.items() if math.prod(shape) > 1]
    fitting = [name for name in arrays if len(shapes[name]) == n_axes] or arrays
    if not fitting:
        raise UsageError(f"no array of numbers in the file, found: {found}")
    if len(fitting) > 1:
        raise UsageError(f"choose one of the arrays with --variable, found: {found}")
    return fitting[0]
