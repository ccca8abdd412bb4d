"""Arguments that have to be numbers: arrays, counts and shapes.

An error is one line that names the argument and both sides. Importing this module imports no torch.
"""

from __future__ import annotations

from numbers import Integral
from reprlib import repr as shortened
from typing import Any

import numpy as np

PAIRS = ({"real", "imag"}, {"r", "i"})
"""Names of the fields of complex numbers in HDF5, which has none of its own before version 2."""


def numeric_array(x: Any, name: str) -> np.ndarray:
    """Return a numpy array of numbers in the byte order of this machine.

    Pairs of real and imaginary part become complex numbers, and numbers of extended precision
    those of double precision.

    Raises
    ------
    ValueError
        Not an array of numbers, or one with masked elements: their values would be used.
    """
    if np.ma.is_masked(x):
        raise ValueError(
            f"{name} has {np.ma.count_masked(x)} elements masked by numpy.ma, expected a plain "
            f"array: give {name}.filled(0), and for k-space the measured places as mask="
        )
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(f"{name} is {shortened(x)}, expected an array of numbers") from None
    if array.dtype.names and set(array.dtype.names) in PAIRS:
        array = _complex_of_pairs(array)
    if array.dtype.kind not in "biufc":
        found = f"an array of {array.dtype}" if isinstance(x, np.ndarray) else shortened(x)
        raise ValueError(f"{name} is {found}, expected an array of numbers")
    if array.dtype.char in "gG":
        array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _complex_of_pairs(pairs: np.ndarray) -> np.ndarray:
    real, imag = sorted(pairs.dtype.names or (), reverse=True)
    kind = np.result_type(pairs.dtype[real], pairs.dtype[imag], np.complex64)
    found = np.empty(pairs.shape, kind)
    found.real, found.imag = pairs[real], pairs[imag]
    return found


def checked_flag(name: str, value: object) -> bool:
    """Return a flag; a `ValueError` for anything but True and False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {shortened(value)}, expected True or False")
    return bool(value)


def checked_count(name: str, value: object, least: int = 1) -> int:
    """Return a whole number; a `ValueError` for anything else, or less than `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}, expected a whole number of at least {least}")
    return int(value)


def checked_shape(name: str, value: object, least: int = 1) -> tuple[int, int]:
    """Return the shape ``(y, x)``; a `ValueError` unless both are numbers of `checked_count`."""
    try:
        y, x = (checked_count(name, n, least) for n in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        text = f"expected (y, x), whole numbers of at least {least}"
        raise ValueError(f"{name} is {shortened(value)}, {text}") from None
    return y, x
