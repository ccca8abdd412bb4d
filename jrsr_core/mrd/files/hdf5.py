"""Opens HDF5 files and reads texts and headers from them; errors of h5py become `BadScan`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from jrsr_core.mrd.errors import BadScan, UnsupportedScan

from .foreign import foreign_words

BROKEN = (OSError, RuntimeError, LookupError, TypeError, ValueError, OverflowError)
"""Exceptions of h5py on files whose contents do not match their description."""


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises
    ------
    FileNotFoundError, PermissionError
        No such file, or not readable for this user.
    BadScan
        Not an HDF5 file, or cut off.
    UnsupportedScan
        A file of another format that is recognised.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not h5py.is_hdf5(path):
        if words := foreign_words(path):
            raise UnsupportedScan(f"not an ISMRMRD file but {words}")
        raise BadScan("not an HDF5 file")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
        raise BadScan(f"HDF5 cannot open it, the file may be cut off ({_line(error)})") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn what h5py raises into `BadScan`, or `MemoryError` where HDF5 is out of memory."""
    try:
        yield
    except (BadScan, UnsupportedScan):
        raise
    except BROKEN as error:
        if "memory allocation" in str(error):
            raise MemoryError(f"{what} ({_line(error)})") from None
        raise BadScan(f"{what}, the file may be cut off ({_line(error)})") from None


def one_text(text: h5py.Dataset) -> bytes | str:
    """Return the only text of a data set; `BadScan` where there are several or none."""
    if text.size != 1:
        raise BadScan(f"'{text.name}' holds {text.size} values of {text.dtype}, expected one text")
    return np.ravel(text[()])[0]


def fitted(heads: np.ndarray, wanted: np.dtype) -> np.ndarray:
    """Return headers with the fields of `wanted` only."""
    if heads.dtype == wanted:
        return heads
    made = np.zeros(len(heads), wanted)
    for name in wanted.names or ():
        inner = wanted[name]
        made[name] = fitted(heads[name], inner) if inner.names else heads[name]
    return made


def lacking(found: np.dtype, wanted: np.dtype) -> Iterator[str]:
    """Yield the fields of `wanted` that are missing in `found` or of another kind there."""
    for name in wanted.names or ():
        if name not in (found.names or ()):
            yield name
        elif wanted[name].names:
            yield from lacking(found[name], wanted[name])
        elif found[name].shape != wanted[name].shape or not np.can_cast(
            found[name].base, wanted[name].base, "same_kind"
        ):
            yield name
