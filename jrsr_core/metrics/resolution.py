"""Effective resolution of a magnitude image x against the truth t: Fourier ring correlation.

    FRC(f) = Re sum_ring X conj(T) / sqrt( sum_ring |X|^2  sum_ring |T|^2 )

X and T are the Fourier transforms of the images without their means, a ring is `WIDTH` wide in
units of the Nyquist frequency of the image, f the radius of its middle. Detail that is not in the
truth, noise or invented, lowers it like detail that is missing; intensity does not change it. The
effective resolution is the frequency where FRC first falls below `THRESHOLD`, interpolated between
rings: as a share of the Nyquist frequency, or as the length of half a period, which for the share 1
is the pixel. An image interpolated from half the matrix ends between 0.5, the edge of its square of
k-space, and 0.6: the corners of the square hold more than a quarter of a ring up to 0.6.

Sources: Saxton and Baumeister, J. Microsc. 1982;127:127; van Heel and Schatz, J. Struct. Biol.
2005;151:250.
"""

import torch
from torch import Tensor

from jrsr_core.physics.fourier import fft2c
from jrsr_core.physics.resolution import Shape

from .image import Image, magnitudes

WIDTH = 0.05
THRESHOLD = 0.5
N_RINGS = round(1 / WIDTH)


def ring_frequencies() -> Tensor:
    """Return the middle radius of every ring in units of the Nyquist frequency, float64."""
    return (torch.arange(N_RINGS, dtype=torch.float64) + 0.5) * WIDTH


def fourier_ring_correlation(image: Image, target: Image) -> Tensor:
    """Return the correlation of every ring of `ring_frequencies`, float64 ``(*batch, ring)``.

    It is 0 where one of the images has nothing, as in a ring without a frequency of the matrix: the
    innermost ones of images below some 40 pixels, see `occupied_rings`. The corners of k-space
    beyond the Nyquist frequency of the axes are not counted. It is NaN for an image that is not
    finite.

    Parameters
    ----------
    image, target
        ``(*batch, y, x)``, as in `metrics.image.psnr`.

    Raises
    ------
    ValueError
        As `metrics.image.psnr`.
    """
    pair = magnitudes(image, target)
    x, t = (_spectrum(v) for v in pair)
    ring = _ring_of(x.shape[-2], x.shape[-1]).to(x.device)
    cross = _sums((x * t.conj()).real, ring)
    power_x, power_t = _sums(x.abs().square(), ring), _sums(t.abs().square(), ring)
    # Rounding leaves some 1e-32 of the largest power where an image has nothing.
    least = 1e-24 * (power_x * power_t).amax(-1, keepdim=True)
    product = power_x * power_t
    there = (product > least) & (product > 0)
    found = torch.where(there, cross / product.clamp_min(1e-300).sqrt(), 0.0)
    return torch.where(product.isfinite().all(-1, keepdim=True), found, torch.nan)


def effective_resolution(image: Image, target: Image) -> Tensor:
    """Return the resolution as a share of the Nyquist frequency, float64 ``(*batch,)``.

    1 where no ring falls below `THRESHOLD`, 0 where the first one does. Rings without a frequency
    of the matrix are passed over. NaN for an image that is not finite. Arguments and errors as
    `fourier_ring_correlation`.
    """
    x, t = magnitudes(image, target)
    return _crossing(fourier_ring_correlation(x, t), (t.shape[-2], t.shape[-1]))


def resolution_limit(noisier: Image, target: Image) -> Tensor:
    """Return the largest resolution that an image without noise can have, float64 ``(*batch,)``.

    A measured target has noise of its own, which no image can be right about. With the signal power
    S and the noise power N of a ring, an image without any error has

        FRC = sqrt( S / (S + N) ) = sqrt( 1 - N / (S + N) ).

    S + N is the power of the target. N is that of its difference to `noisier`, the target after
    independent noise of the same power has been added once more. The limit is 1 where they are
    equal. Errors as `fourier_ring_correlation`.
    """
    n, t = magnitudes(noisier, target)
    shape = (t.shape[-2], t.shape[-1])
    ring = _ring_of(*shape).to(t.device)
    noise, power = (_sums(_spectrum(v).abs().square(), ring) for v in (n - t, t))
    return _crossing((1 - noise / power.clamp_min(1e-300)).clamp_min(0.0).sqrt(), shape)


def _crossing(correlation: Tensor, shape: Shape) -> Tensor:
    """Return where the correlation of all rings falls below `THRESHOLD`."""
    occupied = occupied_rings(*shape).to(correlation.device)
    correlation = correlation[..., occupied]
    frequency = ring_frequencies().to(correlation.device)[occupied]
    below = correlation < THRESHOLD
    found = below.to(torch.int8).argmax(-1)
    last = (found - 1).clamp_min(0)
    high = correlation.gather(-1, last[..., None])[..., 0]
    low = correlation.gather(-1, found[..., None])[..., 0]
    step = (high - THRESHOLD) / (high - low).clamp_min(1e-12)
    crossing = frequency[last] + (frequency[found] - frequency[last]) * step
    crossing = torch.where(found == 0, 0.0, crossing)
    share = torch.where(below.any(-1), crossing, 1.0)
    return torch.where(correlation.isnan().any(-1), torch.nan, share)


def resolution_mm(share: float, pixel_mm: float) -> float:
    """Return half the period at a share of the Nyquist frequency [mm]; infinite for a share of 0.

    `pixel_mm` is the pixel of the image.
    """
    return pixel_mm / share if share > 0 else float("inf")


def _spectrum(image: Tensor) -> Tensor:
    """Return the Fourier transform of an image without its mean."""
    return fft2c(image - image.mean((-2, -1), keepdim=True))


def _ring_of(ny: int, nx: int) -> Tensor:
    """Return the number of the ring of every sample, `N_RINGS` beyond the last, ``(y x,)``."""
    y, x = ((torch.arange(n, dtype=torch.float64) - n // 2) / (n / 2) for n in (ny, nx))
    radius = (y[:, None].square() + x[None, :].square()).sqrt()
    return (radius / WIDTH).long().clamp(max=N_RINGS).flatten()


def occupied_rings(ny: int, nx: int) -> Tensor:
    """Return whether each ring has a frequency of the matrix other than 0, bool ``(ring,)``."""
    counts = torch.bincount(_ring_of(ny, nx), minlength=N_RINGS + 1)[:N_RINGS]
    counts[0] -= 1
    return counts > 0


def _sums(values: Tensor, ring: Tensor) -> Tensor:
    """Return the sum of ``(*batch, y, x)`` over each ring, ``(*batch, ring)``."""
    flat = values.flatten(-2)
    sums = flat.new_zeros((*flat.shape[:-1], N_RINGS + 1))
    return sums.index_add(-1, ring, flat)[..., :N_RINGS]
