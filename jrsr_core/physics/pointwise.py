"""Pointwise factors of the forward model: coil sensitivities and the sampling mask.

    C:  (C x)_c = sum_m S_mc x_m,     (C^H y)_m = sum_c conj(S_mc) y_c
    M:  M y = mask * y,               M = M^H = M^2

Source of C: Pruessmann et al., MRM 1999; several map sets (soft-SENSE): Uecker et al., MRM 2014.
"""

import torch
from torch import Tensor

from jrsr_core.arrays import Array, as_own_tensor, own_samples, takes_array
from jrsr_core.masks import check_mask_axes
from jrsr_core.reprs import tensor_repr
from jrsr_core.tensors import all_true

from .operator import LinearOperator, check_shape


class CoilOperator(LinearOperator):
    """C: image ``(*batch, [map,] y, x)`` -> coil images ``(*batch, coil, y, x)``.

    Parameters
    ----------
    csm
        complex maps ``(*batch, coil, y, x)``, or ``(*batch, map, coil, y, x)`` with `has_map_axis`;
        kept as complex64.
    has_map_axis
        Whether maps and images carry the axis ``map``.

    Raises
    ------
    ValueError
        Maps that are not complex, or have too few axes.
    """

    csm: Tensor

    def __init__(self, csm: Array, *, has_map_axis: bool = False) -> None:
        super().__init__()
        self.has_map_axis = has_map_axis
        axes = ("map", "coil", "y", "x") if has_map_axis else ("coil", "y", "x")
        self.register_buffer("csm", own_samples(csm, "csm", ("...", *axes)), persistent=False)

    def _facts(self) -> str:
        return f"maps {tensor_repr(self.csm)}"

    @takes_array
    def forward(self, x: Tensor) -> Tensor:
        """Return the coil images of x."""
        check_shape("image", x.shape, tuple(self.csm.shape[-2:]))
        coil_images = self.csm * x.unsqueeze(-3)
        return coil_images.sum(-4) if self.has_map_axis else coil_images

    @takes_array
    def adjoint(self, y: Tensor) -> Tensor:
        """Return the coil images combined with the conjugate maps."""
        check_shape("coil images", y.shape, tuple(self.csm.shape[-3:]))
        coil_images = y.unsqueeze(-4) if self.has_map_axis else y
        return (self.csm.conj() * coil_images).sum(-3)


def whole_readouts(mask: Tensor) -> bool:
    """Return whether a mask consists of fully sampled readout lines, if that may be waited for."""
    return all_true(mask == mask[..., :1])


class SamplingOperator(LinearOperator):
    """M: k-space with the samples that the 0/1 mask does not mark set to zero.

    `mask` is ``(*batch, 1, ky, kx)`` or ``(ky, kx)``, broadcast over the coils, and kept as
    float32; other axes, or complex values, raise a `ValueError`.
    """

    mask: Tensor

    def __init__(self, mask: Array) -> None:
        super().__init__()
        mask = as_own_tensor(mask, "mask")
        check_mask_axes(mask.shape)
        if mask.is_complex():
            kind = str(mask.dtype).removeprefix("torch.")
            raise ValueError(f"mask is {kind}, expected real numbers or bool: give abs(mask) > 0")
        self.register_buffer("mask", mask.to(torch.float32), persistent=False)

    def _facts(self) -> str:
        return f"mask {tensor_repr(self.mask)}"

    @takes_array
    def forward(self, x: Tensor) -> Tensor:
        """Return M x."""
        check_shape("kspace", x.shape, tuple(self.mask.shape[-2:]))
        return self.mask * x

    @takes_array
    def adjoint(self, y: Tensor) -> Tensor:
        """Return M y."""
        return self.forward(y)
