"""The forward model of the paper, eq. 1, as a composition:  A = g M H F C.

C coil maps, F Fourier transform, H crop to the acquired grid, M sampling mask, and
g = sqrt(M1 M2 / (N1 N2)) so that one image intensity explains the same k-space on every grid.
On the acquired grid itself H is the identity and g = 1, which leaves A = M F C (eq. 3).

A readout acquired at high resolution makes the acquired grid wider than the LR grid along kx. Its
centre is the LR grid, and g is that of the LR grid, so that LR and wide k-space are one data set.
"""

import torch
from torch import Tensor

from jrsr_core.arrays import Array, takes_array
from jrsr_core.numeric import checked_shape
from jrsr_core.reprs import tensor_repr

from .fourier import filter_kspace
from .gram import FastGram, state
from .operator import LinearOperator
from .pointwise import CoilOperator, SamplingOperator, whole_readouts
from .resolution import CroppedFourierOperator, Shape, crop_or_pad, decimate, grid_scale


class SenseOperator(LinearOperator):
    """Image ``(*batch, [map,] y, x)`` -> acquired k-space ``(*batch, coil, ky, kx)``.

    Parameters
    ----------
    csm
        complex maps ``(*batch, [map,] coil, y, x)`` on the image grid. A complex64 tensor is
        shared, and the operator follows what is written to it; anything else is copied.
    mask
        0 or 1, ``(ky, kx)`` or ``(*batch, 1, ky, kx)``, on the acquired grid. A float32 tensor is
        shared as the maps are. Other weights w are applied as they are: `forward` and `adjoint`
        multiply by w, `gram` by w^2.
    has_map_axis
        Whether maps and images carry the axis ``map``.
    lr_shape
        LR grid ``(ky, kx)``, the centre of the acquired grid; the acquired grid itself if None.

    Raises
    ------
    ValueError
        If the acquired grid exceeds the image grid, or the LR grid the acquired one; maps or a mask
        of another kind or with other axes than those above.
    """

    def __init__(
        self,
        csm: Array,
        mask: Array,
        *,
        has_map_axis: bool = False,
        lr_shape: Shape | None = None,
    ) -> None:
        super().__init__()
        self.coils = CoilOperator(csm, has_map_axis=has_map_axis)
        self.sampling = SamplingOperator(mask)
        self.image_shape: Shape = (self.csm.shape[-2], self.csm.shape[-1])
        self.kspace_shape: Shape = (self.mask.shape[-2], self.mask.shape[-1])
        lr_shape = self.kspace_shape if lr_shape is None else lr_shape
        self.lr_shape: Shape = checked_shape("lr_shape", lr_shape)
        if any(m > n for m, n in zip(self.lr_shape, self.kspace_shape, strict=True)):
            raise ValueError(f"LR grid {self.lr_shape} exceeds acquired grid {self.kspace_shape}")
        self.scale = grid_scale(self.lr_shape, self.image_shape)
        self.fourier = CroppedFourierOperator(self.image_shape, self.kspace_shape)
        self._chain = self.sampling @ self.fourier @ self.coils
        self._lines = (state(self.mask), self._has_lines(self.mask))
        self._fast_gram: FastGram | None = None

    def _facts(self) -> str:
        return f"image {self.image_shape}, maps {tensor_repr(self.csm)}, mask {self.kspace_shape}"

    @property
    def csm(self) -> Tensor:
        """The coil sensitivity maps."""
        return self.coils.csm

    @property
    def mask(self) -> Tensor:
        """The sampling mask on the acquired grid."""
        return self.sampling.mask

    @property
    def n_image_dims(self) -> int:
        """Number of axes of one image: 2, or 3 with a map axis."""
        return 3 if self.coils.has_map_axis else 2

    @takes_array
    def forward(self, x: Tensor) -> Tensor:
        """Return A x."""
        return self.scale * self._chain(x)

    @takes_array
    def adjoint(self, y: Tensor) -> Tensor:
        """Return A^H y; on the acquired grid this is the zero-filled image."""
        return self.scale * self._chain.adjoint(y)

    @takes_array
    def gram(self, x: Tensor) -> Tensor:
        """Return A^H A x = g^2 C^H [F^H (H^H M^2 H) F] C x, the bracket as one k-space filter.

        Where the image grid has the acquired readout and M is constant along kx, the filter is
        along ky alone, because F_x is unitary: half the work of CG-SENSE on a line mask.
        """
        needs_gradient = torch.is_grad_enabled() and (x.requires_grad or self.csm.requires_grad)
        if not needs_gradient:
            return self.scale**2 * self._fast()(x)
        weights = crop_or_pad(self.mask, self.image_shape).square()
        if self._lines_only():
            filtered = filter_kspace(self.coils(x), weights[..., :1], (-2,))
        else:
            filtered = filter_kspace(self.coils(x), weights)
        return self.scale**2 * self.coils.adjoint(filtered)

    def _fast(self) -> FastGram:
        if self._fast_gram is None or not self._fast_gram.is_for(self.csm, self.mask):
            self._fast_gram = FastGram(
                self.csm,
                self.mask,
                has_map_axis=self.coils.has_map_axis,
                lines_only=self._lines_only(),
            )
        return self._fast_gram

    def _has_lines(self, mask: Tensor) -> bool:
        """Return whether a mask leaves a filter along ky alone; see `gram`."""
        return self.image_shape[1] == self.kspace_shape[1] and whole_readouts(mask)

    def _lines_only(self) -> bool:
        """Return `_has_lines` of the mask, looked at again once the mask was written to."""
        now = state(self.mask)
        if self._lines[0] != now:
            self._lines = (now, self._has_lines(self.mask))
        return self._lines[1]

    def at_low_resolution(self) -> "SenseOperator":
        """Return the operator of the same scan on the LR grid: maps decimated, mask cropped."""
        if self.image_shape == self.kspace_shape:
            return self
        csm, mask = decimate(self.csm, self.lr_shape), crop_or_pad(self.mask, self.lr_shape)
        return SenseOperator(csm, mask, has_map_axis=self.coils.has_map_axis)

    def low_resolution_kspace(self, kspace: Tensor) -> Tensor:
        """Return the part of acquired k-space that `at_low_resolution` explains."""
        return crop_or_pad(kspace, self.lr_shape)

    def single_map(self) -> "SenseOperator":
        """Return the operator of the first map set alone, on unit norm; itself if there is one."""
        if not self.coils.has_map_axis:
            return self
        return SenseOperator(first_maps(self.csm), self.mask, lr_shape=self.lr_shape)

    def with_maps(self, n_maps: int) -> "SenseOperator":
        """Return the operator with a map axis of `n_maps`; sets that are missing are zero."""
        csm = self.csm if self.coils.has_map_axis else self.csm.unsqueeze(-4)
        n_missing = n_maps - csm.shape[-4]
        if n_missing < 0:
            raise ValueError(f"sense has {csm.shape[-4]} map sets, {n_maps} are asked for")
        missing = torch.zeros_like(csm[..., :1, :, :, :]).expand(
            *csm.shape[:-4], n_missing, *csm.shape[-3:]
        )
        return SenseOperator(
            torch.cat((csm, missing), -4), self.mask, has_map_axis=True, lr_shape=self.lr_shape
        )

    def first_image(self, x: Tensor) -> Tensor:
        """Return |S_1| x_1 ``(*batch, y, x)`` of an image with a map axis.

        Maps with soft weights are shorter than 1 where their eigenvalue is; the product is the
        image that `single_map` would see.
        """
        return _norm_over_coils(self.csm.select(-4, 0)) * x.select(-3, 0)

    def support(self) -> Tensor:
        """Return 1 where any coil sees the image, else 0, float ``(*batch, [map,] y, x)``."""
        return (self.csm.abs().amax(-3) > 0).to(self.csm.real.dtype)


def first_maps(csm: Tensor) -> Tensor:
    """Return the first set of ``(..., map, coil, y, x)``, its norm over the coils 1 or 0."""
    first = csm.select(-4, 0)
    length = _norm_over_coils(first).unsqueeze(-3)
    return first / length.clamp_min(torch.finfo(length.dtype).tiny)


def _norm_over_coils(csm: Tensor) -> Tensor:
    """``(..., coil, y, x)`` -> ``(..., y, x)``."""
    return csm.abs().square().sum(-3).sqrt()
