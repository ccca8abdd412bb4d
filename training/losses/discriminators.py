"""Discriminators: from a magnitude, and the LR image it came from, to one logit per image.

vgg19     convolutions of VGG-19, then 7 x 7 average pooling and two linear layers ("VGG-19 network
          as the discriminator", paper 3.2.3; one logit, any image size)
esrgan    pairs of 3x3 (stride 1) and 4x4 (stride 2) convolutions, pooled to 4 x 4 (ESRGAN)
medsrgan  takes the pair (LR, HR): two paths, concatenated; a loss compares its features as well
          (Gu et al., MTAP 2020)

All with LeakyReLU 0.2. Widths scale with the preset: the paper's is 64.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2
WIDTHS = {"paper": 64, "compact": 24, "tiny": 4}
FEATURE_WEIGHTS = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16)
"""Of the five feature maps of the medsrgan discriminator (its paper, section 3.3)."""


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(min(8, channels), channels)
    return nn.Identity()


def _block(n_in: int, n_out: int, norm: str, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv: nn.Module = nn.Conv2d(n_in, n_out, kernel, stride, 1)
    conv = spectral_norm(conv) if norm == "spectral" else conv
    return nn.Sequential(conv, _norm(norm, n_out), nn.LeakyReLU(SLOPE))


class Discriminator(nn.Module):
    """Convolutions, pooling, and linear layers to one logit."""

    def __init__(self, layers: list[nn.Module], n_features: int, pool: int, n_hidden: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(pool),
            nn.Flatten(),
            nn.Linear(n_features * pool**2, n_hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(n_hidden, 1),
        )

    def forward(self, magnitude: Tensor, lr_magnitude: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits ``(batch,)`` of images ``(batch, y, x)``, and no features."""
        x = magnitude[:, None].contiguous(memory_format=torch.channels_last)
        return self.head(self.features(x))[:, 0].float(), []


def _vgg19(width: int, norm: str) -> Discriminator:
    layers: list[nn.Module] = []
    n_in = 1
    for factor, n_convs in ((1, 2), (2, 2), (4, 4), (8, 4), (8, 4)):
        for _ in range(n_convs):
            layers.append(_block(n_in, factor * width, norm))
            n_in = factor * width
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return Discriminator(layers, n_in, 7, 16 * width)


def _esrgan(width: int, norm: str) -> Discriminator:
    layers: list[nn.Module] = []
    n_in = 1
    for factor in (1, 2, 4, 8, 8):
        first = norm if n_in > 1 else "none"
        layers.append(_block(n_in, factor * width, first))
        layers.append(_block(factor * width, factor * width, norm, kernel=4, stride=2))
        n_in = factor * width
    return Discriminator(layers, n_in, 4, 100)


class PairDiscriminator(nn.Module):
    """MedSRGAN's: HR path brought to LR size by one stride, LR path, then six blocks."""

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        w = width
        self.hr_path = nn.Sequential(
            _block(1, w, "none"), _block(w, w, norm, stride=2), _block(w, 2 * w, norm)
        )
        self.lr_path = nn.Sequential(_block(1, w, "none"), _block(w, 2 * w, norm))
        plan = ((4, 4, 1), (4, 4, 2), (4, 8, 1), (8, 8, 2), (8, 16, 2))
        self.blocks = nn.ModuleList(_block(a * w, b * w, norm, stride=s) for a, b, s in plan)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16 * w, 100),
            nn.LeakyReLU(SLOPE),
            nn.Linear(100, 1),
        )

    def forward(self, magnitude: Tensor, lr_magnitude: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits ``(batch,)`` and the five feature maps."""
        hr, lr = (
            x[:, None].contiguous(memory_format=torch.channels_last)
            for x in (magnitude, lr_magnitude)
        )
        x = torch.cat((self.hr_path(hr), self.lr_path(lr)), 1)
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return self.head(x)[:, 0].float(), features


_BUILDERS: dict[str, Callable[[int, str], Discriminator | PairDiscriminator]] = {
    "vgg19": _vgg19,
    "esrgan": _esrgan,
    "medsrgan": PairDiscriminator,
}


def build_discriminator(
    name: str, preset: str, *, width: int = 0, norm: str = "batch"
) -> Discriminator | PairDiscriminator:
    """Build a discriminator.

    Parameters
    ----------
    name
        vgg19, esrgan or medsrgan.
    preset
        Gives the number of channels of the first layer where `width` is 0.
    norm
        batch, group, spectral or none.
    """
    built = _BUILDERS[name](width or WIDTHS[preset], norm)
    built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs
    return built
