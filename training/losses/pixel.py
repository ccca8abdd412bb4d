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
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad, softplus, unfold

from jrsr_core.physics.resolution import Shape, sinc_interpolate

FLAT_WINDOW = 11


def like(image: Tensor, target: Tensor) -> Tensor:
    """Return the complex target as `image` is: complex, or its magnitude."""
    return target if image.is_complex() else target.abs()


def l1(image: Tensor, target: Tensor) -> Tensor:
    """Mean modulus of the difference; a magnitude is compared with the magnitude of the truth."""
    return (image - like(image, target)).abs().mean()


def generator_loss(fake: Tensor, real: Tensor, gan: str) -> Tensor:
    """Adversarial loss of the generator from logits ``(batch,)``; `real` counts if relativistic."""
    if gan == "vanilla":
        return softplus(-fake).mean()
    real = real.detach()
    return (softplus(real - fake.mean()).mean() + softplus(-(fake - real.mean())).mean()) / 2


def discriminator_loss(fake: Tensor, real: Tensor, gan: str) -> Tensor:
    """Loss of the discriminator from logits ``(batch,)``."""
    if gan == "vanilla":
        return softplus(fake).mean() + softplus(-real).mean()
    return (softplus(-(real - fake.mean())).mean() + softplus(fake - real.mean()).mean()) / 2


def feature_loss(fake: list[Tensor], real: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    """Weighted squared distance of the discriminator's features."""
    terms = [
        w * (f - r.detach()).square().mean() for w, f, r in zip(weights, fake, real, strict=True)
    ]
    return torch.stack(terms).sum()


def back_projection_loss(image: Tensor, lr_target: Tensor) -> Tensor:
    """L1 between the image brought to the LR grid and the fully sampled LR image, magnitudes."""
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


# FOLDED training/best_buddy.py: Best-buddy loss (Li et al., BebyGAN, AAAI 2022): a patch may aim at any good patch of the truth.
PATCH = 3
SCALES = (1.0, 0.5, 0.25)
CHUNK = 2048


def _patches(image: Tensor) -> Tensor:
    """``(batch, y, x)`` -> ``(batch, patches, 9)``, stride 3, no padding."""
    return unfold(image[:, None], PATCH, stride=PATCH).mT


def _candidates(target: Tensor) -> Tensor:
    patches = []
    for scale in SCALES:
        scaled = target
        if scale != 1:
            size = [max(int(n * scale), PATCH) for n in target.shape[-2:]]
            scaled = interpolate(target[:, None], size, mode="bicubic", antialias=True)[:, 0]
        patches.append(_patches(scaled))
    return torch.cat(patches, 1)


@torch.no_grad()
def best_buddies(patches: Tensor, own: Tensor, candidates: Tensor) -> Tensor:
    """Return the chosen candidate ``(batch, patches, 9)`` of every patch; chunked over patches."""
    chosen = []
    for start in range(0, patches.shape[1], CHUNK):
        rows = slice(start, start + CHUNK)
        # |p - g|^2 + |g_i - g|^2 up to a constant: 2 |g|^2 - 2 <p + g_i, g>.
        both = patches[:, rows] + own[:, rows]
        cost = candidates.square().sum(-1)[:, None] - both @ candidates.mT
        index = cost.argmin(-1)[..., None].expand(-1, -1, candidates.shape[-1])
        chosen.append(candidates.gather(1, index))
    return torch.cat(chosen, 1)


def best_buddy_loss(image: Tensor, target: Tensor) -> Tensor:
    """Return the loss of magnitudes ``(batch, y, x)``."""
    patches, own = _patches(image), _patches(target)
    buddies = best_buddies(patches.detach(), own, _candidates(target))
    return (patches - buddies).abs().mean()


def random_crop(images: tuple[Tensor, ...], size: int, generator: Generator) -> tuple[Tensor, ...]:
    """Cut the same window of at most `size` pixels per side out of images ``(batch, y, x)``."""
    windows = []
    for n in images[0].shape[-2:]:
        width = min(size, n)
        start = int(torch.randint(0, n - width + 1, (), generator=generator))
        windows.append(slice(start, start + width))
    return tuple(image[..., windows[0], windows[1]] for image in images)
