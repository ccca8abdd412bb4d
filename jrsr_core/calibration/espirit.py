"""Coil sensitivity maps from the ACS by ESPIRiT.

Every k x k window of the ACS, over all coils, lies in the row space V of the calibration matrix
(singular values > threshold * sigma_max, and above those of the noise where it is known: ours).
Projecting all windows on V and averaging where they overlap is, in the image domain, a Hermitian
coil x coil matrix at every pixel,

    G(r) = k^(-2) sum_n K_n(r) K_n(r)^H,    K_n(r) = sum_o v_n(o) exp(+2 pi i o.(r - N//2) / N),

and true coil images are left as they are: G(r) S(r) = S(r). The maps are its eigenvectors of
eigenvalue 1. Source: Uecker et al., MRM 2014;71:990.

Fast evaluation (ours, after the two-kernel-size grid of BART): K_n K_n^H has lags of at most
k - 1 samples, so the sum over the kernels is done once, on a grid of (2k - 1)^2 points; its Fourier
coefficients h(d) give G at any position of any grid by a short separable sum. Eigenvectors are
found directly on a coarse grid, interpolated, and polished by orthogonal iteration.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor

from jrsr_core.arrays import Array, as_samples
from jrsr_core.numeric import checked_count, checked_shape
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import Shape, crop_or_pad

from .settings import check_range
from .subspace import leading_eigenvectors

MAX_ACS = (24, 24)
"""The kernels are estimated from at most the central 24 x 24 samples."""

SAFE_THRESHOLD = 0.05
"""Below it the Gram matrix is made in double precision, three times slower: the rounding of single
precision mixes the kernels at the cut, and maps of one scan read in two ways differ by 0.2 %."""


MEDIAN_TO_LARGEST = 10.0
"""The largest power of noise is at most so many times its median, where the median is noise."""


def espirit_maps(
    acs: Array,
    image_shape: tuple[int, int],
    *,
    kernel_width: int | Shape = 6,
    threshold: float = 0.02,
    n_maps: int = 1,
    crop: float = 0.9,
) -> tuple[Tensor, Tensor]:
    """Estimate coil sensitivity maps on any grid of the field of view of the ACS.

    Parameters
    ----------
    acs
        complex ``(coil, y, x)``, fully sampled, k = 0 at ``n//2``; of a larger block only the
        central 24 x 24 samples are used.
    image_shape
        Grid ``(y, x)`` of the maps, LR or HR.
    kernel_width
        Window size k in k-space samples, or one ``(y, x)``.
    threshold
        Row space: singular values above this fraction of the largest.
    n_maps
        1, or more for objects larger than the field of view (soft-SENSE).
    crop
        Eigenvalue below which a pixel is background.

    Returns
    -------
    maps
        complex64 ``(coil, y, x)``, or ``(n_maps, coil, y, x)`` if `n_maps` > 1. One map: unit norm
        over the coils, zero where the eigenvalue is below `crop`. Several maps: each multiplied by
        sqrt(w), ``w = 1/2 - cos(pi (lambda - c) / (1 - c)) / 2`` (soft weights, 0 below c). Phase:
        the first SCC virtual coil of the ACS has a real, non-negative sensitivity.
    eigenvalues
        float32 ``(y, x)``, or ``(n_maps, y, x)``; about 1 where there is signal.

    Raises
    ------
    ValueError
        ACS smaller than the kernel, zero or not finite; more maps than coils; a kernel without a
        side, a grid below 2 x 2, sizes that are no whole numbers, a threshold or crop outside 0 to
        0.99.
    """
    acs = as_samples(acs, "acs", ("coil", "y", "x"))
    check_range("threshold", threshold)
    check_range("crop", crop)
    image_shape = checked_shape("image_shape", image_shape, least=2)
    if isinstance(kernel_width, tuple | list):
        kernel = checked_shape("kernel_width", kernel_width)
    else:
        kernel = (checked_count("kernel_width", kernel_width),) * 2
    n_coils = acs.shape[0]
    if checked_count("n_maps", n_maps) > n_coils:
        raise ValueError(f"n_maps is {n_maps}, {n_coils} coils allow 1 to {n_coils}")
    subspace = CoilSubspace.of_acs(acs, kernel_width=kernel, threshold=threshold)
    return subspace.maps(image_shape, n_maps=n_maps, crop=crop)


@dataclass(frozen=True, eq=False)
class CoilSubspace:
    """Row space of an ACS, from which maps on any grid follow.

    Attributes
    ----------
    coefficients
        Fourier coefficients of G(r), see `gram_coefficients`.
    reference
        Coil vector ``(coil,)`` whose projection on every map is real and non-negative.
    """

    coefficients: Tensor
    reference: Tensor

    @classmethod
    def of_acs(
        cls,
        acs: Tensor,
        *,
        kernel_width: int | Shape,
        threshold: float,
        noise_std: Callable[[], float] | None = None,
    ) -> "CoilSubspace":
        """Return the row space of an ACS; parameters and errors as `espirit_maps`.

        `noise_std` returns sqrt(E|n|^2) of a sample; called only if the threshold may let in noise.
        """
        kernel = kernel_width if isinstance(kernel_width, tuple) else (kernel_width, kernel_width)
        peak = float(acs.abs().amax()) if acs.numel() else 0.0
        acs = _prepare(acs, kernel)
        relative = None if noise_std is None else lambda: noise_std() / peak
        kernels = row_space_kernels(acs, kernel, threshold, relative)
        return cls(gram_coefficients(kernels), first_virtual_coil(acs))

    def vectors(self, image_shape: tuple[int, int], n_maps: int) -> tuple[Tensor, Tensor]:
        """Return unit eigenvectors ``(n_maps, coil, y, x)`` and eigenvalues ``(n_maps, y, x)``."""
        vectors, eigenvalues = leading_eigenvectors(self.coefficients, image_shape, n_maps)
        return _reference_phase(vectors, self.reference), eigenvalues

    def maps(
        self, image_shape: tuple[int, int], *, n_maps: int, crop: float
    ) -> tuple[Tensor, Tensor]:
        """Return maps and eigenvalues as `espirit_maps` does."""
        vectors, eigenvalues = self.vectors(image_shape, n_maps)
        if n_maps == 1:
            vectors, eigenvalues = vectors[0], eigenvalues[0]
            return vectors * (eigenvalues > crop), eigenvalues
        return vectors * soft_weight(eigenvalues, crop).sqrt().unsqueeze(-3), eigenvalues


def row_space_kernels(
    acs: Tensor, kernel: Shape, threshold: float, noise_std: Callable[[], float] | None = None
) -> Tensor:
    """Return orthonormal kernels V, complex64 ``(n, coil, ky, kx)``, that span the windows.

    Noise of `noise_std` has no part in them: with it they span everything, and maps are arbitrary.
    """
    n_coils = acs.shape[0]
    windows = calibration_matrix(acs, kernel)
    if threshold < SAFE_THRESHOLD:
        windows = windows.to(torch.complex128)
    # The smaller of the two Gram matrices has the same non-zero spectrum.
    is_wide = windows.shape[1] >= windows.shape[0]
    power, vectors = torch.linalg.eigh(windows @ windows.mH if is_wide else windows.mH @ windows)
    least = threshold * float(power[-1].clamp_min(0.0).sqrt())
    if noise_std is not None and MEDIAN_TO_LARGEST * float(power.median()) > least**2:
        floor = noise_std() * _largest_of_noise(tuple(acs.shape), kernel)
        if floor**2 < float(power[-1]):  # Otherwise there is nothing but noise to make maps of.
            least = max(least, floor)
    keep = power > least**2
    kernels = vectors[:, keep]
    if not is_wide:
        kernels = windows @ kernels / power[keep].sqrt()
    return kernels.mT.reshape(-1, n_coils, *kernel).to(torch.complex64)


@lru_cache(maxsize=16)
def _largest_of_noise(shape: tuple[int, ...], kernel: Shape) -> float:
    """Return the largest singular value of the calibration matrix of unit noise."""
    noise = torch.randn(shape, dtype=torch.complex64, generator=Generator().manual_seed(0))
    return float(torch.linalg.matrix_norm(calibration_matrix(noise, kernel), 2))


def calibration_matrix(acs: Tensor, kernel: Shape) -> Tensor:
    """Return all windows of ``(coil, y, x)`` as columns, ``(coil * ky * kx, windows)``."""
    ky, kx = kernel
    windows = acs.unfold(1, ky, 1).unfold(2, kx, 1)
    return windows.permute(0, 3, 4, 1, 2).reshape(acs.shape[0] * ky * kx, -1)


def gram_coefficients(kernels: Tensor) -> Tensor:
    """Return coefficients h(d) of G, ``(2ky - 1, 2kx - 1, coil, coil)``, lag 0 at ``k - 1``."""
    ky, kx = kernels.shape[-2:]
    grid = (2 * ky - 1, 2 * kx - 1)
    scale = math.sqrt(math.prod(grid))
    kernel_images = scale * ifft2c(crop_or_pad(kernels, grid))
    columns = kernel_images.permute(2, 3, 1, 0)
    gram = columns @ columns.mH / (ky * kx)
    # G(r) = sum_d h(d) exp(-2 pi i d.r / grid), hence the inverse transform.
    return ifft2c(gram.permute(2, 3, 0, 1)).permute(2, 3, 0, 1) / scale


def first_virtual_coil(acs: Tensor) -> Tensor:
    """Return the SCC vector ``(coil,)`` of the strongest virtual coil, largest entry positive."""
    samples = acs.flatten(1)
    vector = torch.linalg.eigh(samples @ samples.mH)[1][:, -1]
    largest = vector[vector.abs().argmax()]
    return vector * (largest.conj() / largest.abs())


def soft_weight(eigenvalues: Tensor, crop: float) -> Tensor:
    """Return the weight of soft-SENSE maps: 0 below `crop`, 1 at eigenvalue 1, cosine between."""
    ramp = ((eigenvalues - crop) / (1 - crop)).clamp(0.0, 1.0)
    return 0.5 - 0.5 * torch.cos(math.pi * ramp)


def _prepare(acs: Tensor, kernel: Shape) -> Tensor:
    """Check, cut to the central block, and scale against overflow."""
    ny, nx = (min(n, limit) for n, limit in zip(acs.shape[-2:], MAX_ACS, strict=True))
    if ny < kernel[0] or nx < kernel[1]:
        raise ValueError(
            f"acs is {acs.shape[-2]}x{acs.shape[-1]}, "
            f"the kernel needs at least {kernel[0]}x{kernel[1]}"
        )
    acs = crop_or_pad(acs, (ny, nx))
    peak = acs.abs().amax()
    if not bool(torch.isfinite(peak)):
        raise ValueError("acs has samples that are not finite")
    if not bool(peak > 0):
        raise ValueError("acs is zero everywhere")
    return acs.to(torch.complex64) / peak


def _reference_phase(vectors: Tensor, reference: Tensor) -> Tensor:
    """Make the projection on `reference` real and non-negative at every pixel."""
    projection = torch.einsum("c,mcyx->myx", reference.conj(), vectors)
    return vectors * torch.polar(torch.ones_like(projection.abs()), -projection.angle())[:, None]
