"""Best-buddy loss (Li et al., BebyGAN, AAAI 2022): any similar patch of the truth will do.

    L = mean_i | p_i - g*_i |_1,   g*_i = argmin_g  |p_i - g|^2 + |g_i - g|^2

p_i are the 3 x 3 patches of the image (stride 3), g_i those of the truth at the same places, and g
runs over the patches of the truth at scales 1, 1/2 and 1/4. No gradient through the choice.
"""

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate, unfold

PATCH = 3
SCALES = (1.0, 0.5, 0.25)
CHUNK = 2048
"""Patches whose distances to all candidates are held in memory at once."""

CROP = 128
"""Largest side [pixel] of the window that the loss is computed on."""


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
    """Return the best candidate ``(batch, patches, 9)`` of every patch."""
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
