"""BebyGAN's generator: the RRDB network of ESRGAN (Li et al., AAAI 2022; Wang et al., ECCVW 2018).

    f = f_0 + conv(RRDB(...RRDB(f_0))),    f_0 = conv(input)
    out = conv(lrelu(conv(lrelu(conv(up(f))))))

up is one twofold nearest upsampling. The best-buddy loss and the region-aware discrimination of
BebyGAN belong to its training. Convolutions keep the initial values of PyTorch: unlike ESRGAN,
BebyGAN does not scale them down.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .interfaces import UpsampleModel
from .layers import LEAKY_SLOPE, RRDB, conv3
from .sr import upsample_nearest


@dataclass(frozen=True)
class BebyGanConfig:
    """Size of the generator."""

    features: int = 64
    growth: int = 32
    n_blocks: int = 23


class BebyGan(UpsampleModel):
    """Twofold super-resolution of the magnitude."""

    def __init__(self, config: BebyGanConfig) -> None:
        super().__init__()
        nf = config.features
        self.conv_in = conv3(1, nf)
        self.trunk = nn.Sequential(*(RRDB(nf, config.growth) for _ in range(config.n_blocks)))
        self.conv_trunk = conv3(nf, nf)
        self.conv_up, self.conv_hr = conv3(nf, nf), conv3(nf, nf)
        self.conv_out = conv3(nf, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()

    def forward(self, image: Tensor) -> Tensor:
        """Return the magnitude ``(batch, 2y, 2x)`` of an image ``(batch, y, x)``."""
        x = image.abs()[:, None].contiguous(memory_format=torch.channels_last)
        f0 = self.conv_in(x)
        f = f0 + self.conv_trunk(self.trunk(f0))
        up = upsample_nearest(f, (image.shape[-2], image.shape[-1]))
        for conv in (self.conv_up, self.conv_hr):
            up = functional.leaky_relu(conv(up), LEAKY_SLOPE)
        return self.conv_out(up)[:, 0]
