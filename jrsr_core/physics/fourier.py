"""Centred orthonormal Fourier transform; the only module that calls `torch.fft`.

    X[k] = (N_1 N_2)^(-1/2) sum_r x[r] exp(-2 pi i k.(r - N//2)/N),   k = 0 at index N//2

F is unitary: F^H = F^(-1), so F^H F is the identity.
"""

import torch
from torch import Tensor

from jrsr_core.arrays import takes_array

from .operator import LinearOperator


def fft(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Return the centred orthonormal FFT along the axes `dim`."""
    dims = (dim,) if isinstance(dim, int) else dim
    x = torch.fft.ifftshift(x, dim=dims)
    return torch.fft.fftshift(torch.fft.fftn(x, dim=dims, norm="ortho"), dim=dims)


def ifft(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Return the centred orthonormal inverse FFT along the axes `dim`."""
    dims = (dim,) if isinstance(dim, int) else dim
    x = torch.fft.ifftshift(x, dim=dims)
    return torch.fft.fftshift(torch.fft.ifftn(x, dim=dims, norm="ortho"), dim=dims)


def fft2c(image: Tensor) -> Tensor:
    """Return the k-space ``(..., ky, kx)`` of an image ``(..., y, x)``."""
    return fft(image, (-2, -1))


def ifft2c(kspace: Tensor) -> Tensor:
    """Return the image ``(..., y, x)`` of k-space ``(..., ky, kx)``."""
    return ifft(kspace, (-2, -1))


def filter_kspace(image: Tensor, weights: Tensor, dim: tuple[int, ...] = (-2, -1)) -> Tensor:
    """Return F^H diag(w) F x for centred weights w.

    F^H diag(w) F is a circular convolution and commutes with circular shifts, so the shifts of the
    centred transform cancel and only the weights have to be moved. Exact for every size.
    """
    weights = fft_order(weights, dim)
    return torch.fft.ifftn(weights * torch.fft.fftn(image, dim=dim), dim=dim)


def fft_order(weights: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Move k = 0 from ``n//2`` to index 0 along the axes `dim`."""
    return torch.fft.ifftshift(weights, dim=dim)


def filter_overwriting(image: Tensor, weights: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Return `filter_kspace` for weights in `fft_order`, without gradients."""
    return torch.fft.ifftn(torch.fft.fftn(image, dim=dim).mul_(weights), dim=dim)


class FourierOperator(LinearOperator):
    """F: centred orthonormal FFT over the last two axes."""

    @takes_array
    def forward(self, x: Tensor) -> Tensor:
        """Return F x."""
        return fft2c(x)

    @takes_array
    def adjoint(self, y: Tensor) -> Tensor:
        """Return F^H y = F^(-1) y."""
        return ifft2c(y)

    @takes_array
    def gram(self, x: Tensor) -> Tensor:
        """Return x: F is unitary."""
        return x
