"""Axes of a sampling mask: ``(ky, kx)``, or ``(*batch, 1, ky, kx)`` for one mask per sample.

An array with other axes would broadcast along a wrong one without an error: lines ``(ky,)`` would
mask kx, and masks ``(batch, ky, kx)`` of as many samples as coils would mask one coil each.
"""

from __future__ import annotations

SINGLE = "(ky, kx)"
BATCHED = "(ky, kx) or (*batch, 1, ky, kx)"

_LINES = "np.repeat(mask[:, None], n_kx, 1)"
_COIL_AXIS = "mask[..., None, :, :]"


def check_mask_axes(shape: tuple[int, ...], *, batched: bool = True) -> None:
    """Raise `ValueError` unless a mask of this shape has samples and the axes of a sampling mask.

    Parameters
    ----------
    shape
        Shape of the mask.
    batched
        Whether a mask per sample, with an axis of size 1 for the coils, is one as well.
    """
    shape = tuple(shape)
    if len(shape) == 2 or (batched and len(shape) > 2 and shape[-3] == 1):
        if 0 in shape:
            raise ValueError(f"mask is {shape}, expected at least one sample along every axis")
        return
    text = f"mask is {shape}, expected {BATCHED if batched else SINGLE}"
    if len(shape) == 1:
        text += f": write {_LINES} for whole readout lines"
    elif batched and len(shape) > 2:
        text += f": write {_COIL_AXIS} for one mask per sample"
    raise ValueError(text)
