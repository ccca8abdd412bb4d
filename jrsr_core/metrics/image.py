"""Metrics of a magnitude image x against the truth t, one number per slice.

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

SIGMA = 1.5
RADIUS = 5
K1, K2 = 0.01, 0.03


def psnr(image: Tensor, target: Tensor) -> Tensor:
    """Return the PSNR in dB, float64 ``(*batch,)``; infinite for equal images.

    Parameters
    ----------
    image, target
        real magnitudes ``(*batch, y, x)``, on the same intensity scale.

    Raises
    ------
    ValueError
        Complex input, different shapes, or a target whose maximum is not positive.
    """
    image, target = _check(image, target)
    mse = (image - target).square().mean((-2, -1))
    return 10 * torch.log10(target.amax((-2, -1)).square() / mse)


def nmse(image: Tensor, target: Tensor) -> Tensor:
    """Return squared error over squared truth, float64 ``(*batch,)``; arguments as in `psnr`."""
    image, target = _check(image, target)
    return (image - target).square().sum((-2, -1)) / target.square().sum((-2, -1))


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """Return the structural similarity, float64 ``(*batch,)``; arguments and errors as in `psnr`.

    Images have to be at least 11 x 11.
    """
    image, target = _check(image, target)
    width = 2 * RADIUS + 1
    if min(image.shape[-2:]) < width:
        raise ValueError(f"ssim needs {width}x{width} pixels or more, got {tuple(image.shape)}")
    peak = target.amax((-2, -1), keepdim=True)
    c1, c2 = (K1 * peak).square(), (K2 * peak).square()
    mu_x, mu_t = _smooth(image), _smooth(target)
    var_x = _smooth(image * image) - mu_x * mu_x
    var_t = _smooth(target * target) - mu_t * mu_t
    cov = _smooth(image * target) - mu_x * mu_t
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


def _check(image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    for name, value in (("image", image), ("target", target)):
        if value.is_complex():
            raise ValueError(f"{name} is {value.dtype}, metrics take magnitudes")
    if image.shape != target.shape:
        raise ValueError(f"image is {tuple(image.shape)}, target is {tuple(target.shape)}")
    if not bool((target.amax((-2, -1)) > 0).all()):
        raise ValueError("target has no positive pixel")
    return image.to(torch.float64), target.to(torch.float64)
