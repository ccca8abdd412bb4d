"""Sampling of k-space: multiplication with a 0/1 mask, an orthogonal projection."""

from torch import Tensor

from .operator import LinearOperator, buffer, check_shape


class SamplingOperator(LinearOperator):
    """M: keep what the mask marks, zero the rest. M = M^H = M^2 for a 0/1 mask.

    `mask` is float ``(*batch, 1, ky, kx)`` or ``(ky, kx)``, broadcast over the coils.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        buffer(self, "mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        """Return M x."""
        check_shape("kspace", x.shape, tuple(self.mask.shape[-2:]))
        return self.mask * x

    def adjoint(self, y: Tensor) -> Tensor:
        """Return M y."""
        return self.forward(y)
