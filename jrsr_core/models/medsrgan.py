"""MedSRGAN's generator RWMAN: whole-map attention on the LR grid (Gu et al., MTAP 2020).

    RWMAB     out = x + sigmoid(conv1(f)) f,    f = conv(relu(conv(x)))
    group     x + RWMAB(...RWMAB(x));    trunk  f_0 + group(...group(f_0)),    f_0 = conv(input)
    out       conv(pixel_shuffle(conv(trunk)))

The attention weighs every pixel of every feature map: nothing is pooled. Images are standardised
one by one, as in the original. The blocks are residual already, so every short skip doubles what
an untrained trunk lets through; the last convolution starts that much smaller (ours).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .interfaces import UpsampleModel
from .layers import conv3, shift_to_grid, standardise


@dataclass(frozen=True)
class MedSrganConfig:
    """Size of the generator."""

    features: int = 64
    n_groups: int = 8
    n_blocks: int = 16


class WholeMapAttentionBlock(nn.Module):
    """RWMAB: a residual branch weighted by a map of its own shape."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first, self.second = conv3(features, features), conv3(features, features)
        self.attention = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, features, y, x)`` -> the same shape."""
        f = self.second(functional.relu(self.first(x)))
        return x + torch.sigmoid(self.attention(f)) * f


class MedSrgan(UpsampleModel):
    """Twofold super-resolution of the magnitude."""

    def __init__(self, config: MedSrganConfig) -> None:
        super().__init__()
        nf = config.features
        self.conv_in = conv3(1, nf)
        self.groups = nn.ModuleList(
            nn.Sequential(*(WholeMapAttentionBlock(nf) for _ in range(config.n_blocks)))
            for _ in range(config.n_groups)
        )
        self.conv_up = conv3(nf, 4 * nf)
        self.conv_out = conv3(nf, 1)
        with torch.no_grad():
            self.conv_out.weight.mul_(2.0**-config.n_groups)

    def forward(self, image: Tensor) -> Tensor:
        """Return the magnitude ``(batch, 2y, 2x)`` of an image ``(batch, y, x)``."""
        x, mean, std = standardise(image.abs()[:, None])
        f0 = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        f = f0
        for group in self.groups:
            f = f + group(f)
        up = functional.pixel_shuffle(self.conv_up(f0 + f), 2)
        up = shift_to_grid(up, (image.shape[-2], image.shape[-1]))
        return (mean + std * self.conv_out(up))[:, 0]
