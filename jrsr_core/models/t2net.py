"""T2Net: reconstruction and super-resolution branches joined by task transformers.

    x1, x2 = head1(a), head2(a),    a = |A^H b| standardised
    n times:  x1, x2 = res1(x1), res2(x2);    x1 = transformer(x1, x2)
    SR = conv(pixel_shuffle(conv(x1 + head1))),    Rec = conv1(x2 + head2)

The reconstruction branch has no input from the other. No data consistency: the network works on
magnitudes only. Source: Feng et al., MICCAI 2021 (T2Net); residual blocks: Lim et al., EDSR,
CVPRW 2017.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from jrsr_core.physics.sense import SenseOperator

from .interfaces import Clock, JointModel, ModelOutput, at_low_resolution
from .layers import conv3, mean_and_std, shift_to_grid
from .task_transformer import TaskTransformer

RESIDUAL_SCALE = 0.1


@dataclass(frozen=True)
class T2NetConfig:
    """Features of both branches and number of stages."""

    features: int = 64
    n_stages: int = 8


class ResidualBlock(nn.Module):
    """x + 0.1 conv(relu(conv(x)))."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first, self.second = conv3(features, features), conv3(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, features, y, x)`` -> the same shape."""
        return x + RESIDUAL_SCALE * self.second(functional.relu(self.first(x)))


class Stage(nn.Module):
    """One residual block per branch, then the transformer."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.sr, self.rec = ResidualBlock(features), ResidualBlock(features)
        self.transformer = TaskTransformer(features)

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the SR and of the reconstruction branch."""
        x2 = self.rec(x2)
        return self.transformer(self.sr(x1), x2), x2


class T2Net(JointModel):
    """Both images from the zero-filled magnitude."""

    def __init__(self, config: T2NetConfig) -> None:
        super().__init__()
        nf = config.features
        self.head_sr, self.head_rec = (nn.Conv2d(1, nf, 5, padding=2) for _ in range(2))
        self.stages = nn.ModuleList(Stage(nf) for _ in range(config.n_stages))
        self.conv_up, self.conv_out = conv3(nf, 4 * nf), conv3(nf, 1)
        self.tail_rec = nn.Conv2d(nf, 1, 1)

    def branches(self, magnitude: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Return HR and LR magnitude ``(batch, y, x)`` of the zero-filled ``(batch, 1, y, x)``.

        `mean` and `std` are those of the whole image, where `magnitude` is a part of it.
        """
        x = (magnitude - mean) / std
        head_sr, head_rec = self.head_sr(x), self.head_rec(x)
        x1, x2 = head_sr, head_rec
        for stage in self.stages:
            x1, x2 = stage(x1, x2)
        up = functional.pixel_shuffle(self.conv_up(x1 + head_sr), 2)
        up = shift_to_grid(up, (x.shape[-2], x.shape[-1]))
        image = (mean + std * self.conv_out(up))[:, 0]
        return image, (mean + std * self.tail_rec(x2 + head_rec))[:, 0]

    def forward(
        self, kspace: Tensor, sense: SenseOperator, noise_std: Tensor | None = None
    ) -> ModelOutput:
        """Return the HR magnitude, and the LR one with the phase of the zero-filled image.

        Both come out of one pass, so its time counts as that of the reconstruction.
        """
        clock = Clock()
        lr_kspace, lr_sense = at_low_resolution(kspace, sense)
        zero_filled = lr_sense.adjoint(lr_kspace)
        seen = zero_filled.abs()[:, None]
        image, magnitude = self.branches(seen, *mean_and_std(seen))
        clock.lap("rec")
        return ModelOutput(image, magnitude * torch.sgn(zero_filled), seconds=clock.laps)
