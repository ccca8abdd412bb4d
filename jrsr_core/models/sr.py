"""The super-resolution module: RRDB-SFT trunk on the LR grid, nearest upsampling, two convolutions.

    f = f_0 + conv(trunk(f_0, c)),  f_0 = conv(input),  c = conv(x_rec)           (paper, 3.2.2)
    out = conv(lrelu(conv(up(f))))

The condition c, the reconstruction feature, is shared by all SFT layers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import LEAKY_SLOPE, RRDB, conv3, shift_to_grid, zero_init


@dataclass(frozen=True)
class SrConfig:
    """Size of the SR module; the paper's is 64 features, growth 32, 23 blocks."""

    features: int = 64
    growth: int = 32
    n_blocks: int = 23
    n_in: int = 1
    n_condition: int = 2
    n_out: int = 1
    extra_skips: bool = True
    sft: str = "block"
    residual_output: bool = False


def upsample_nearest(x: Tensor, lr_shape: tuple[int, int]) -> Tensor:
    """Repeat every pixel 2 x 2, on the HR grid of `lr_shape`."""
    return shift_to_grid(functional.interpolate(x, scale_factor=2, mode="nearest"), lr_shape)


def _pass_through(conv: nn.Conv2d) -> None:
    """Let the centre tap of (out 0, in 0) be 1, the rest of that row 0: channel 0 goes through."""
    with torch.no_grad():
        conv.weight[0].zero_()
        conv.weight[0, 0, 1, 1] = 1.0
        if conv.bias is not None:
            conv.bias[0] = 0.0


class SrModule(nn.Module):
    """LR channels ``(batch, n_in, y, x)`` and condition -> HR channels ``(batch, n_out, 2y, 2x)``.

    With `residual_output` the last convolution starts at zero (the module adds to an image it is
    given); otherwise the start is nearest upsampling of input channel 0. Both are initial values;
    the architecture is the paper's.
    """

    def __init__(self, config: SrConfig) -> None:
        super().__init__()
        nf = config.features
        self.conv_in = conv3(config.n_in, nf)
        self.conv_condition = conv3(config.n_condition, nf) if config.sft != "none" else None
        self.trunk = nn.ModuleList(
            RRDB(nf, config.growth, extra_skips=config.extra_skips, sft=config.sft)
            for _ in range(config.n_blocks)
        )
        self.conv_trunk = zero_init(conv3(nf, nf))
        self.conv_up = conv3(nf, nf)
        self.conv_out = conv3(nf, config.n_out)
        if config.residual_output:
            zero_init(self.conv_out)
        else:
            for conv in (self.conv_in, self.conv_up, self.conv_out):
                _pass_through(conv)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the HR channels."""
        lr_shape = (x.shape[-2], x.shape[-1])
        f0 = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        feature = None
        if self.conv_condition is not None:
            if condition is None:
                raise ValueError("this SR module needs a condition")
            feature = self.conv_condition(condition.contiguous(memory_format=torch.channels_last))
        f = f0
        for block in self.trunk:
            f = block(f, feature)
        f = upsample_nearest(f0 + self.conv_trunk(f), lr_shape)
        f = functional.leaky_relu(self.conv_up(f), LEAKY_SLOPE)
        # Half precision stops before the image, whose grey levels it would round to 8 bits.
        with torch.autocast(f.device.type, enabled=False):
            return self.conv_out(f.float())
