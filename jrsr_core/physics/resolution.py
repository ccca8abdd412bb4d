"""Change of grid in k-space: centre crop (HR -> LR) and its adjoint, zero-padding (LR -> HR).

n -> m starts at ``n//2 - m//2``, so that k = 0, at ``n//2``, lands on ``m//2`` for every parity.
With orthonormal FFTs on both grids the cropped image is brighter by sqrt(N1 N2 / (M1 M2));
`grid_scale` is the factor that puts both on one intensity scale.

In the image, LR pixel j lies at HR pixel ``2j + N//2 - 2 (M//2)`` when N = 2M: both grids have
their origin at ``n//2``.
"""

import math

import torch
from torch import Tensor

from jrsr_core.arrays import takes_array
from jrsr_core.numeric import checked_shape

from .fourier import fft, fft2c, ifft, ifft2c
from .operator import LinearOperator, check_shape

Shape = tuple[int, int]


def crop_or_pad(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Crop or zero-pad the last ``len(shape)`` axes to `shape`, index ``n//2`` staying the centre.

    The adjoint of the map n -> m is the map m -> n.
    """
    n_axes = len(shape)
    source = [slice(None)] * x.ndim
    target = [slice(None)] * x.ndim
    for axis, m in zip(range(-n_axes, 0), shape, strict=True):
        n = x.shape[axis]
        start = n // 2 - m // 2
        if m <= n:
            source[axis] = slice(start, start + m)
        else:
            target[axis] = slice(-start, -start + n)
    if all(m <= n for m, n in zip(shape, x.shape[-n_axes:], strict=True)):
        return x[tuple(source)]
    out = x.new_zeros((*x.shape[:-n_axes], *shape))
    out[tuple(target)] = x[tuple(source)]
    return out


def grid_scale(lr_shape: Shape, hr_shape: Shape) -> float:
    """Return sqrt(M1 M2 / (N1 N2)), the factor on k-space cropped from the HR to the LR grid."""
    return math.sqrt(math.prod(lr_shape) / math.prod(hr_shape))


def lr_to_hr_index(lr_size: int, hr_size: int, device: torch.device | None = None) -> Tensor:
    """Return the HR pixel of every LR pixel along an axis; `hr_size` is a multiple of `lr_size`."""
    factor, rest = divmod(hr_size, lr_size)
    if rest:
        raise ValueError(f"HR size {hr_size} is no multiple of LR size {lr_size}")
    first = hr_size // 2 - factor * (lr_size // 2)
    return factor * torch.arange(lr_size, device=device) + first


def decimate(x: Tensor, lr_shape: Shape) -> Tensor:
    """Take the HR array ``(..., y, x)`` at the positions of the LR pixels."""
    for axis, m in zip((-2, -1), lr_shape, strict=True):
        x = x.index_select(axis, lr_to_hr_index(m, x.shape[axis], x.device))
    return x


def sinc_interpolate(image: Tensor, shape: Shape) -> Tensor:
    """Resample ``(..., y, x)`` to another grid of the same field of view by k-space crop or pad.

    Exact for band-limited images; keeps intensity and the position of the centre ``n//2``.
    """
    source: Shape = (image.shape[-2], image.shape[-1])
    kspace = crop_or_pad(fft2c(image), shape)
    resampled = ifft2c(kspace) / grid_scale(source, shape)
    return resampled if image.is_complex() else resampled.real


class KSpaceCropOperator(LinearOperator):
    """H: HR k-space -> the centre on the acquired grid; the adjoint zero-pads."""

    def __init__(self, hr_shape: Shape, lr_shape: Shape) -> None:
        super().__init__()
        self.hr_shape = checked_shape("hr_shape", hr_shape)
        self.lr_shape = checked_shape("lr_shape", lr_shape)
        if any(m > n for m, n in zip(self.lr_shape, self.hr_shape, strict=True)):
            raise ValueError(f"LR grid {self.lr_shape} exceeds HR grid {self.hr_shape}")

    def _facts(self) -> str:
        return f"HR {self.hr_shape}, LR {self.lr_shape}"

    @takes_array
    def forward(self, x: Tensor) -> Tensor:
        """Return H x."""
        check_shape("kspace", x.shape, self.hr_shape)
        return crop_or_pad(x, self.lr_shape)

    @takes_array
    def adjoint(self, y: Tensor) -> Tensor:
        """Return H^H y."""
        check_shape("kspace", y.shape, self.lr_shape)
        return crop_or_pad(y, self.hr_shape)


class CroppedFourierOperator(LinearOperator):
    """H F, one axis after the other, so that what H drops along x is not transformed along y."""

    def __init__(self, hr_shape: Shape, lr_shape: Shape) -> None:
        super().__init__()
        self.crop = KSpaceCropOperator(hr_shape, lr_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return H F x."""
        check_shape("image", x.shape, self.crop.hr_shape)
        band = crop_or_pad(fft(x, -1), self.crop.lr_shape[1:])
        return crop_or_pad(fft(band, -2), self.crop.lr_shape)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return F^H H^H y."""
        check_shape("kspace", y.shape, self.crop.lr_shape)
        (ny, _), (_, mx) = self.crop.hr_shape, self.crop.lr_shape
        band = ifft(crop_or_pad(y, (ny, mx)), -2)
        return ifft(crop_or_pad(band, self.crop.hr_shape[1:]), -1)
