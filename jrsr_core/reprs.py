"""Short texts for the `repr` of classes that hold arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def tensor_repr(x: Tensor) -> str:
    """Return shape, data type and device of an array: ``(4, 64, 48) complex64 on cpu``."""
    return f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')} on {x.device}"
