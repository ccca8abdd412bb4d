"""The Gram operator laid out for speed, without gradients.

    A^H A = C^H F^H diag(w) F C,    w the squared mask on the k-space of the image grid

Conjugate maps are computed once, and intermediate arrays are overwritten. Whole readout lines (w
constant along kx) leave a filter along ky alone, because F_x is unitary; the maps are then stored
with y as the last axis, so that the FFT runs along contiguous memory.
"""

from torch import Tensor

from .fourier import fft_order, filter_overwriting
from .resolution import crop_or_pad


class FastGram:
    """Callable image ``(*batch, [map,] y, x)`` -> A^H A x, without gradients.

    Parameters
    ----------
    csm, mask
        As in `SenseOperator`.
    lines_only
        Whether the mask has the readout of the image grid and is constant along kx; then only its
        first column is used.
    """

    def __init__(self, csm: Tensor, mask: Tensor, *, has_map_axis: bool, lines_only: bool) -> None:
        self.lines_only = lines_only
        self.has_map_axis = has_map_axis
        self._key = (state(csm), state(mask))
        weights = crop_or_pad(mask, (csm.shape[-2], csm.shape[-1])).square()
        self.dim = (-1,) if lines_only else (-2, -1)
        if lines_only:
            csm, weights = csm.mT.contiguous(), weights[..., :1].mT
        self.csm = csm
        self.conjugate = csm.conj().resolve_conj()
        self.weights = fft_order(weights, self.dim)

    def __call__(self, x: Tensor) -> Tensor:
        """Return A^H A x."""
        if self.lines_only:
            return self._gram(x.mT.contiguous()).mT.contiguous()
        return self._gram(x)

    def _gram(self, x: Tensor) -> Tensor:
        coil_images = self.csm * x.unsqueeze(-3)
        if self.has_map_axis:
            filtered = filter_overwriting(coil_images.sum(-4), self.weights, self.dim)
            return (self.conjugate * filtered.unsqueeze(-4)).sum(-3)
        filtered = filter_overwriting(coil_images, self.weights, self.dim)
        return filtered.mul_(self.conjugate).sum(-3)

    def is_for(self, csm: Tensor, mask: Tensor) -> bool:
        """Return whether maps and mask are where they were, with the values that they had."""
        return self._key == (state(csm), state(mask))


def state(x: Tensor) -> tuple[object, ...]:
    """Return what changes if a tensor is moved, converted, or written to outside inference mode."""
    version = None if x.is_inference() else x._version
    return (x.device, x.dtype, x.data_ptr(), version)
