"""The Gram operator laid out for speed, without gradients.

    A^H A = C^H F^H diag(w) F C,    w the squared mask on the k-space of the image grid

Conjugate maps are computed once, and intermediate arrays are overwritten. Whole readout lines (w
constant along kx) leave a filter along ky alone, because F_x is unitary; the maps are then stored
with y as the last axis, so that the FFT runs along contiguous memory.
"""

from torch import Tensor

from .fourier import fft_order, filter_overwriting


class FastGram:
    """Callable image ``(*batch, [map,] y, x)`` -> A^H A x, without gradients.

    Parameters
    ----------
    csm
        As in `SenseOperator`.
    weights
        Centred, squared mask on the image grid, ``(ky, kx)`` or ``(*batch, 1, ky, kx)``.
    lines_only
        Whether `weights` is constant along kx; then only its first column is used.
    """

    def __init__(
        self, csm: Tensor, weights: Tensor, *, has_map_axis: bool, lines_only: bool
    ) -> None:
        self.lines_only = lines_only
        self.has_map_axis = has_map_axis
        self._key = _state(csm)
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

    def is_for(self, csm: Tensor) -> bool:
        """Return whether `csm` is where it was, with the values that it had."""
        return self._key == _state(csm)


def _state(x: Tensor) -> tuple[object, ...]:
    """Return what changes if a tensor is moved, converted, or written to outside inference mode."""
    version = None if x.is_inference() else x._version
    return (x.device, x.dtype, x.data_ptr(), version)
