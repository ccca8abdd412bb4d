"""The acquisition model: from an HR object to LR, undersampled multi-coil k-space.

    b = M (g H F P C x + n),   g = sqrt(M1 M2 / (N1 N2)),   n complex white noise

with the coil maps C, the fold-over P of an object larger than the field of view, the orthonormal
FFT F, the crop H to the acquired M1 x M2 samples of N1 x N2 and the sampling mask M. An HR readout
is a crop to more samples along x. g keeps the intensity scale of the image (see
`physics.resolution`). The noise level is stated against the fully sampled LR image:

    dB = 20 log10( rms(sqrt(sum_c |g H F P C_c x|^2)) / sqrt(E|n|^2) ).

Source: Xu et al., Bioengineering 2023;10:1107, section 3.3.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from jrsr_core.physics.fourier import fft2c
from jrsr_core.physics.resolution import Shape, crop_or_pad, grid_scale


@dataclass(frozen=True, eq=False, kw_only=True)
class AcquiredSlice:
    """One slice of k-space on the LR grid, and what a full scan without noise would have given.

    `mask` is 0/1 ``(ky, kx)``; `fully_sampled` the noisy k-space before the mask and `clean` the
    same without noise, complex64 ``(coil, ky, kx)``; `coil_images` the noiseless HR coil images
    ``(coil, y, x)``; `noise_std` = sqrt(E|n|^2) of one sample.
    """

    mask: Tensor
    fully_sampled: Tensor
    clean: Tensor
    coil_images: Tensor
    noise_std: float

    @property
    def kspace(self) -> Tensor:
        """Measured k-space, zero where nothing was sampled; complex64 ``(coil, ky, kx)``."""
        return self.mask * self.fully_sampled


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulatedSlice(AcquiredSlice):
    """An acquired slice of a known object.

    `truth` is the HR magnitude in the field of view, float32 ``(y, x)``; `csm` the coil maps on
    the grid of the object, complex64 ``(coil, y, x)``.
    """

    truth: Tensor
    csm: Tensor


def white_noise(shape: tuple[int, ...], std: float, generator: Generator) -> Tensor:
    """Return complex white noise with sqrt(E|n|^2) = `std`, complex64."""
    return std * torch.randn(shape, dtype=torch.complex64, generator=generator)


def to_low_resolution(kspace: Tensor, lr_shape: Shape) -> Tensor:
    """Crop HR k-space ``(..., ky, kx)`` to `lr_shape`, on the intensity scale of that grid."""
    hr_shape = (kspace.shape[-2], kspace.shape[-1])
    return grid_scale(lr_shape, hr_shape) * crop_or_pad(kspace, lr_shape)


def fold_over(images: Tensor, n_rows: int) -> Tensor:
    """Return coil images ``(..., y, x)`` in a field of view of `n_rows` along y.

    Whatever lies outside enters at the opposite side; the centre ``n//2`` stays.
    """
    n = images.shape[-2]
    rows = (torch.arange(n) - n // 2 + n_rows // 2) % n_rows
    folded = images.new_zeros((*images.shape[:-2], n_rows, images.shape[-1]))
    return folded.index_add_(-2, rows, images)


def noise_std_for(kspace: Tensor, noise_db: float) -> float:
    """Return sqrt(E|n|^2) for a noise level in dB below the rms of fully sampled k-space.

    `kspace` is complex ``(coil, ...)``; its rms is that of the combined LR image (Parseval).
    """
    signal = kspace.abs().square().sum(0).mean().sqrt()
    return float(signal) * 10 ** (-noise_db / 20)


def encode(
    coil_images: Tensor, magnitude: Tensor, lr_shape: Shape, n_rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Encode HR coil images ``(coil, y, x)`` of an object of this `magnitude`, without noise.

    Returns k-space ``(coil, ky, kx)`` of size `lr_shape`, the coil images in a field of view of
    `n_rows` along y, and the magnitude they show: that of the object, or the root sum of squares
    of one that is folded over.
    """
    if n_rows != coil_images.shape[-2]:
        coil_images = fold_over(coil_images, n_rows)
        magnitude = coil_images.abs().square().sum(0).sqrt()
    return to_low_resolution(fft2c(coil_images), lr_shape), coil_images, magnitude


def acquire(
    image: Tensor,
    csm: Tensor,
    mask: Tensor,
    *,
    noise_db: float,
    generator: Generator,
    n_rows: int | None = None,
) -> SimulatedSlice:
    """Acquire the complex HR `image` ``(y, x)`` with the coils `csm` ``(coil, y, x)``.

    `mask` ``(ky, kx)`` has the size of the acquired matrix, `noise_db` is the noise level as
    defined above, `n_rows` the number of rows of the field of view, by default those of the image.

    Raises
    ------
    ValueError
        Image and maps differ in size.
    """
    if csm.shape[-2:] != image.shape:
        raise ValueError(f"csm is {tuple(csm.shape[-2:])}, image is {tuple(image.shape)}")
    lr_shape = (mask.shape[-2], mask.shape[-1])
    clean, coil_images, truth = encode(
        csm * image, image.abs(), lr_shape, n_rows or image.shape[-2]
    )
    std = noise_std_for(clean, noise_db)
    return SimulatedSlice(
        mask=mask,
        fully_sampled=clean + white_noise(tuple(clean.shape), std, generator),
        clean=clean,
        coil_images=coil_images,
        noise_std=std,
        truth=truth,
        csm=csm,
    )
