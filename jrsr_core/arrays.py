"""Arguments that may be numpy arrays or tensors."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from .numeric import numeric_array

Array = Tensor | np.ndarray
Self = TypeVar("Self")


def as_tensor(x: Array, name: str = "the argument") -> Tensor:
    """Return a tensor of the same values and precision; a tensor itself is returned.

    An array that PyTorch can use shares its memory with the tensor; one that is read-only, runs
    backwards, or is converted by `numeric_array`, which raises the errors, is copied.
    """
    if isinstance(x, Tensor):
        return x
    array = numeric_array(x, name)
    array = np.ascontiguousarray(array) if array.ndim else array
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def as_own_tensor(x: Array, name: str = "the argument") -> Tensor:
    """Return a tensor that shares no memory with an array of the caller; a tensor is returned.

    A tensor counts the writes to it, an array does not: what is computed from its values and kept
    would not follow them.
    """
    return x if isinstance(x, Tensor) else as_tensor(np.array(numeric_array(x, name)), name)


def as_samples(x: Array, name: str, axes: Sequence[str]) -> Tensor:
    """Return complex64 samples with these axes; a first one of "..." stands for any number.

    Raises
    ------
    ValueError
        Another number of axes, or real values; the message has `name` and both sides.
    """
    samples = as_tensor(x, name)
    wanted = f"expected complex ({', '.join(axes)})"
    n_axes = len(axes)
    fits = samples.ndim >= n_axes - 1 if axes[0] == "..." else samples.ndim == n_axes
    if not fits:
        raise ValueError(f"{name} is {tuple(samples.shape)}, {wanted}")
    if not samples.is_complex():
        raise ValueError(f"{name} is {str(samples.dtype).removeprefix('torch.')}, {wanted}")
    return samples.to(torch.complex64)


def own_samples(x: Array, name: str, axes: Sequence[str]) -> Tensor:
    """Return `as_samples`, sharing no memory with a numpy array; a complex64 tensor is returned."""
    return as_samples(as_own_tensor(x, name), name, axes)


def takes_array(method: Callable[[Self, Tensor], Tensor]) -> Callable[[Self, Array], Tensor]:
    """Let a method of one tensor take a numpy array as well."""

    @wraps(method)
    def call(self: Self, x: Array) -> Tensor:
        return method(self, as_tensor(x))

    return call
