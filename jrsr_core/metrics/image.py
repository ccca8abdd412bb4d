"""Metrics of the magnitude x of an image against that of the truth t, one number per slice.

    MSE = mean |x - t|^2,    PSNR = 10 log10(MAX^2 / MSE),    NMSE = sum |x - t|^2 / sum |t|^2
    SSIM = mean_r (2 mu_x mu_t + C1)(2 s_xt + C2) / ((mu_x^2 + mu_t^2 + C1)(s_x^2 + s_t^2 + C2))
    C1 = (0.01 MAX)^2,   C2 = (0.03 MAX)^2,   MAX = maximum of t

SSIM is the variant of its authors: Gaussian window, sigma 1.5, 11 x 11, biased covariances; the
border of 5 pixels, where the window leaves the image, is not counted. scikit-image agrees for
``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``. Computed in float64.

Source: Wang et al., IEEE TIP 2004;13:600. MAX: the convention of fastMRI.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from jrsr_core.arrays import Array, as_tensor
from jrsr_core.data import ReconImage

SIGMA = 1.5
RADIUS = 5
K1, K2 = 0.01, 0.03

Image = ReconImage | Array


def psnr(image: Image, target: Image) -> Tensor:
    """Return the PSNR in dB, float64 ``(*batch,)``; infinite for equal images.

    Parameters
    ----------
    image, target
        ``(*batch, y, x)`` on the same intensity scale: tensors, numpy arrays or `ReconImage`. The
        magnitude of complex ones is taken.

    Raises
    ------
    ValueError
        No numbers, fewer than two axes, no pixels, different shapes, or a target that is not finite
        or whose maximum is not positive.
    """
    x, t = magnitudes(image, target)
    mse = (x - t).square().mean((-2, -1))
    return 10 * torch.log10(t.amax((-2, -1)).square() / mse)


def nmse(image: Image, target: Image) -> Tensor:
    """Return squared error over squared truth, float64 ``(*batch,)``; arguments as in `psnr`."""
    x, t = magnitudes(image, target)
    return (x - t).square().sum((-2, -1)) / t.square().sum((-2, -1))


def ssim(image: Image, target: Image) -> Tensor:
    """Return the structural similarity, float64 ``(*batch,)``; arguments and errors as in `psnr`.

    Images have to be at least 11 x 11.
    """
    x, t = magnitudes(image, target)
    width = 2 * RADIUS + 1
    if min(x.shape[-2:]) < width:
        raise ValueError(f"ssim needs {width}x{width} pixels or more, got {tuple(x.shape)}")
    peak = t.amax((-2, -1), keepdim=True)
    c1, c2 = (K1 * peak).square(), (K2 * peak).square()
    mu_x, mu_t = _smooth(x), _smooth(t)
    var_x = _smooth(x * x) - mu_x * mu_x
    var_t = _smooth(t * t) - mu_t * mu_t
    cov = _smooth(x * t) - mu_x * mu_t
    similarity = (2 * mu_x * mu_t + c1) * (2 * cov + c2)
    return (similarity / ((mu_x**2 + mu_t**2 + c1) * (var_x + var_t + c2))).mean((-2, -1))


def _smooth(image: Tensor) -> Tensor:
    """Gaussian window where it fits: ``(*batch, y, x)`` -> ``(*batch, y - 10, x - 10)``."""
    offset = torch.arange(-RADIUS, RADIUS + 1, dtype=image.dtype, device=image.device)
    window = torch.exp(-(offset**2) / (2 * SIGMA**2))
    window = window / window.sum()
    flat = image.reshape(-1, 1, *image.shape[-2:])
    flat = conv2d(conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return flat.reshape(*image.shape[:-2], *flat.shape[-2:])


def magnitudes(image: Image, target: Image) -> tuple[Tensor, Tensor]:
    """Return both magnitudes in float64; `ValueError` where they cannot be compared.

    The image may have pixels that are not finite: its metrics are NaN.
    """
    x, t = _magnitude(image, "image"), _magnitude(target, "target")
    if x.shape != t.shape:
        raise ValueError(f"image is {tuple(x.shape)}, target is {tuple(t.shape)}")
    n_bad = int((~t.isfinite()).sum())
    if n_bad:
        raise ValueError(f"target is not finite in {n_bad} of {t.numel()} pixels")
    if not bool((t.amax((-2, -1)) > 0).all()):
        raise ValueError("target has no positive pixel")
    return x, t.to(x.device)


def _magnitude(image: Image, name: str) -> Tensor:
    """Return float64: real values as they are, the magnitude of complex ones."""
    values = image.magnitude if isinstance(image, ReconImage) else as_tensor(image, name)
    if values.ndim < 2 or not values.numel():
        raise ValueError(
            f"{name} is {tuple(values.shape)}, expected at least 1 pixel of (..., y, x)"
        )
    return (values.abs() if values.is_complex() else values).to(torch.float64)
