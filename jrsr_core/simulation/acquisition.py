"""From an HR image to the low-resolution, undersampled multi-coil k-space of the paper.

    b = g M (H F C x + n),   n complex white noise, g = sqrt(M1 M2 / (N1 N2))

The level of the noise is stated against the fully sampled LR image:
dB = 20 log10(rms(g H F x) / sqrt(E|g n|^2)).
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from jrsr_core.physics.fourier import fft2c
from jrsr_core.physics.resolution import Shape, crop_or_pad, grid_scale


@dataclass(frozen=True, eq=False)
class SimulatedScan:
    """One simulated slice.

    `kspace` ``(coil, ky, kx)`` as the receive coils saw it, `mask` ``(ky, kx)``, `truth` the HR
    magnitude ``(y, x)``, `csm` the true maps on the grid of the object, `noise_std` = sqrt(E|n|^2)
    of one sample, `noise` pure noise ``(coil, samples)``, `fully_sampled` the k-space before the
    mask.
    """

    kspace: Tensor
    mask: Tensor
    truth: Tensor
    csm: Tensor
    noise_std: float
    noise: Tensor
    fully_sampled: Tensor


def white_noise(shape: tuple[int, ...], std: float, generator: Generator) -> Tensor:
    """Complex white noise with sqrt(E|n|^2) = std."""
    return std * torch.randn(shape, dtype=torch.complex64, generator=generator)


def to_low_resolution(kspace: Tensor, lr_shape: Shape) -> Tensor:
    """Centre of HR k-space on the intensity scale of the LR grid, ``(..., ky, kx)``."""
    hr_shape = (kspace.shape[-2], kspace.shape[-1])
    return grid_scale(lr_shape, hr_shape) * crop_or_pad(kspace, lr_shape)


def fold_over(images: Tensor, n_rows: int) -> Tensor:
    """Return what a field of view of `n_rows` makes of coil images ``(..., y, x)``.

    What lies beyond it along y comes in at the other side; the centre ``n//2`` stays.
    """
    n = images.shape[-2]
    rows = (torch.arange(n) - n // 2 + n_rows // 2) % n_rows
    folded = images.new_zeros((*images.shape[:-2], n_rows, images.shape[-1]))
    return folded.index_add_(-2, rows, images)


def seen_in(images: Tensor, magnitude: Tensor, n_rows: int) -> tuple[Tensor, Tensor]:
    """Return coil images ``(coil, y, x)`` in a field of view of `n_rows`, and what they show.

    That is `magnitude`, the object's, or the root sum of squares where the object is folded over.
    """
    if n_rows == images.shape[-2]:
        return images, magnitude
    folded = fold_over(images, n_rows)
    return folded, folded.abs().square().sum(0).sqrt()


def noise_std_for(kspace: Tensor, noise_db: float) -> float:
    """sqrt(E|n|^2) per sample for a noise level in dB below the rms of the combined image."""
    signal = kspace.abs().square().sum(0).mean().sqrt()
    return float(signal) * 10 ** (-noise_db / 20)


def acquire(
    image: Tensor,
    csm: Tensor,
    mask: Tensor,
    *,
    noise_db: float,
    generator: Generator,
    n_noise_samples: int = 2048,
    n_rows: int | None = None,
) -> SimulatedScan:
    """Simulate the scan of the complex HR `image` ``(y, x)`` seen by `csm` ``(coil, y, x)``.

    `n_rows` is the size of a field of view smaller than the image, see `seen_in`.
    """
    if csm.shape[-2:] != image.shape:
        raise ValueError(f"csm is {tuple(csm.shape[-2:])}, image is {tuple(image.shape)}")
    lr_shape: Shape = (mask.shape[-2], mask.shape[-1])
    seen, truth = seen_in(csm * image, image.abs(), n_rows or image.shape[-2])
    clean = to_low_resolution(fft2c(seen), lr_shape)
    std = noise_std_for(clean, noise_db)
    full = clean + white_noise(tuple(clean.shape), std, generator)
    noise = white_noise((csm.shape[0], n_noise_samples), std, generator)
    return SimulatedScan(mask * full, mask, truth, csm, std, noise, full)
