"""Coil sensitivity encoding, with one or several sets of maps (soft-SENSE).

    (C x)_c = sum_m S_mc x_m,     (C^H y)_m = sum_c conj(S_mc) y_c

Source: Pruessmann et al., MRM 1999; several map sets: Uecker et al., MRM 2014 (ESPIRiT).
"""

from torch import Tensor

from .operator import LinearOperator, buffer, check_shape


class CoilOperator(LinearOperator):
    """Image ``(*batch, [map,] y, x)`` -> coil images ``(*batch, coil, y, x)``.

    Parameters
    ----------
    csm
        complex maps ``(*batch, coil, y, x)``, or ``(*batch, map, coil, y, x)`` with `has_map_axis`.
    has_map_axis
        Whether maps and images carry the axis ``map``.
    """

    csm: Tensor

    def __init__(self, csm: Tensor, *, has_map_axis: bool = False) -> None:
        super().__init__()
        self.has_map_axis = has_map_axis
        buffer(self, "csm", csm)

    def forward(self, x: Tensor) -> Tensor:
        """Return the coil images of x."""
        check_shape("image", x.shape, tuple(self.csm.shape[-2:]))
        coil_images = self.csm * x.unsqueeze(-3)
        return coil_images.sum(-4) if self.has_map_axis else coil_images

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the coil images combined with the conjugate maps."""
        check_shape("coil images", y.shape, tuple(self.csm.shape[-3:]))
        coil_images = y.unsqueeze(-4) if self.has_map_axis else y
        return (self.csm.conj() * coil_images).sum(-3)
