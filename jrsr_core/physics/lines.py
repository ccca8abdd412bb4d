"""The Gram operator of whole readout lines, laid out for speed.

    A^H A = C^H F_y^H diag(w) F_y C,    w the mask along ky

y is made the last axis once, in the maps, so that the FFT runs along memory; what is made on the
way is overwritten. Twice the speed of the same without; gradients need the one without.
"""

from torch import Tensor

from .fourier import fft_order, filter_last_axis


class LineGram:
    """Callable image ``(*batch, [map,] y, x)`` -> A^H A x, without gradients.

    Parameters
    ----------
    csm
        As in `SenseOperator`.
    weights
        Mask along ky, ``(ky, 1)`` or ``(*batch, 1, ky, 1)``.
    """

    def __init__(self, csm: Tensor, weights: Tensor, *, has_map_axis: bool) -> None:
        self.csm = csm.mT.contiguous()
        self.conjugate = self.csm.conj().resolve_conj()
        self.weights = fft_order(weights.mT)
        self.has_map_axis = has_map_axis

    def __call__(self, x: Tensor) -> Tensor:
        """Return A^H A x."""
        coil_images = self.csm * x.mT.contiguous().unsqueeze(-3)
        if self.has_map_axis:
            filtered = filter_last_axis(coil_images.sum(-4), self.weights).unsqueeze(-4)
            combined = (self.conjugate * filtered).sum(-3)
        else:
            combined = filter_last_axis(coil_images, self.weights).mul_(self.conjugate).sum(-3)
        return combined.mT.contiguous()

    def is_for(self, csm: Tensor) -> bool:
        """Whether the operator has not been moved since."""
        return self.csm.device == csm.device and self.csm.dtype == csm.dtype
