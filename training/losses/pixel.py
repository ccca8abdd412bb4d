"""Losses between an image and its truth, and of a generator against a discriminator.

    L_pix = mean |x - x_GT|                      (paper, eq. 7; complex modulus for complex images)
    L_rec = mean |x_rec - x_GT,LR|               (eq. 9)
    L_adv = -log D(x),   L_dis = -log(1 - D(x)) - log D(x_GT)         (eqs. 10 and 11, vanilla)
    relativistic: D(a) becomes D(a) - mean D(b) against the other kind (ESRGAN, ECCVW 2018)
    L_back = mean | |H x| - |x_LR| |, H the k-space crop to the LR grid (BebyGAN, AAAI 2022, with
             our down-sampling: bicubic would be half a pixel off)
    L_feature = sum_k w_k mean (D_k(x) - D_k(x_GT))^2                 (MedSRGAN, MTAP 2020)

Discriminators give logits, so -log D = softplus(-logit).
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad, softplus

from jrsr_core.physics.resolution import Shape, sinc_interpolate

FLAT_WINDOW = 11


def l1(image: Tensor, target: Tensor) -> Tensor:
    """Return the mean modulus of the difference; a magnitude is compared with that of the truth."""
    return (image - (target if image.is_complex() else target.abs())).abs().mean()


def generator_loss(fake: Tensor, real: Tensor, gan: str) -> Tensor:
    """Return the loss of the generator from logits ``(batch,)``; "vanilla" ignores `real`."""
    if gan == "vanilla":
        return softplus(-fake).mean()
    real = real.detach()
    return (softplus(real - fake.mean()).mean() + softplus(-(fake - real.mean())).mean()) / 2


def discriminator_loss(fake: Tensor, real: Tensor, gan: str) -> Tensor:
    """Return the loss of the discriminator from logits ``(batch,)``."""
    if gan == "vanilla":
        return softplus(fake).mean() + softplus(-real).mean()
    return (softplus(-(real - fake.mean())).mean() + softplus(fake - real.mean()).mean()) / 2


def feature_loss(fake: list[Tensor], real: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    """Return the weighted squared distance of the discriminator's features."""
    terms = [
        w * (f - r.detach()).square().mean() for w, f, r in zip(weights, fake, real, strict=True)
    ]
    return torch.stack(terms).sum()


def back_projection_loss(image: Tensor, lr_target: Tensor) -> Tensor:
    """Return L1 between the magnitudes of the image on the LR grid and of the LR truth."""
    shape: Shape = (lr_target.shape[-2], lr_target.shape[-1])
    return (sinc_interpolate(image, shape).abs() - lr_target.abs()).abs().mean()


def textured(lr_magnitude: Tensor, hr_shape: Shape, threshold: float) -> Tensor:
    """Return 0 where the LR image is flat, else 1, on the HR grid ``(batch, y, x)``.

    Flat: the local standard deviation over 11 x 11 pixels of the LR image, brought to the HR
    grid, is below `threshold` (BebyGAN's region-aware adversarial loss; images in about [0, 1]).
    """
    image = sinc_interpolate(lr_magnitude, hr_shape)[:, None]
    border = FLAT_WINDOW // 2
    padded = pad(image, (border,) * 4, mode="reflect")
    mean = avg_pool2d(padded, FLAT_WINDOW, 1)
    variance = avg_pool2d(padded.square(), FLAT_WINDOW, 1) - mean.square()
    return (variance.clamp_min(0).sqrt() >= threshold).to(image.dtype)[:, 0]
