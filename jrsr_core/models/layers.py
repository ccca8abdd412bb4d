"""Residual dense blocks and the spatial feature transform, shared by several systems.

RDB   x_i = lrelu(conv_i([x, x_1 .. x_(i-1)])), i = 1..4;  out = x + 0.2 conv_5([x, x_1 .. x_4])
RRDB  out = x + 0.2 RDB(RDB(RDB(x)))                          (Wang et al., ESRGAN, ECCVW 2018)
extra skips   x_2 += W x (1x1), x_4 += x_2                    (Rakotonirina, ESRGAN+, ICASSP 2020)
SFT   F * (1 + gamma(c)) + beta(c), two 1x1 convolutions each (Wang et al., SFTGAN, CVPR 2018)
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

RESIDUAL_SCALE = 0.2
LEAKY_SLOPE = 0.2
DENSE_INIT_SCALE = 0.1  # ESRGAN: small weights keep the residual branches near zero at the start


def conv3(n_in: int, n_out: int) -> nn.Conv2d:
    """Return a 3x3 convolution with bias that keeps the size."""
    return nn.Conv2d(n_in, n_out, 3, padding=1)


def zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    """Set a convolution to zero, so that a residual branch starts as nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def mean_and_std(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and std of every sample of ``(batch, channel, y, x)``, the latter above zero."""
    std, mean = torch.std_mean(x, (-3, -2, -1), keepdim=True)
    return mean, std.clamp_min(torch.finfo(x.dtype).tiny)


def standardise(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (x - mean) / std, mean and std of every sample of ``(batch, channel, y, x)``."""
    mean, std = mean_and_std(x)
    return (x - mean) / std, mean, std


def shift_to_grid(up: Tensor, lr_shape: tuple[int, int]) -> Tensor:
    """Move a twofold upsampled map such that LR pixel j lies at HR pixel 2j + N//2 - 2 (M//2).

    Upsampling layers put LR pixel j on HR pixels 2j and 2j + 1. For an odd LR size M the grids
    share their origin n//2 only if these are moved by one, so that j is at 2j + 1.
    """
    shifts = [size % 2 for size in lr_shape]
    return torch.roll(up, shifts, (-2, -1)) if any(shifts) else up


def to_lr_channels(hr: Tensor, lr_shape: tuple[int, int]) -> Tensor:
    """Return the HR pixels of every LR pixel as channels: ``(batch, 4 n, y, x)`` for n of HR.

    The inverse of a twofold upsampling with `shift_to_grid`.
    """
    shifts = [-(size % 2) for size in lr_shape]
    hr = torch.roll(hr, shifts, (-2, -1)) if any(shifts) else hr
    return functional.pixel_unshuffle(hr, 2)


class ResidualDenseBlock(nn.Module):
    """Five densely connected 3x3 convolutions with a scaled residual."""

    def __init__(self, features: int, growth: int, *, extra_skips: bool = False) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv3(features + i * growth, growth) for i in range(4))
        self.fuse = conv3(features + 4 * growth, features)
        self.skip = nn.Conv2d(features, growth, 1, bias=False) if extra_skips else None
        for conv in (*self.convs, self.fuse):
            nn.init.kaiming_normal_(conv.weight, a=0, mode="fan_in")
            conv.weight.data.mul_(DENSE_INIT_SCALE)
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, features, y, x)`` -> the same shape."""
        maps = [x]
        for i, conv in enumerate(self.convs):
            known = torch.cat(maps, 1) if i else x  # of one alone it would be a copy
            y = functional.leaky_relu(conv(known), LEAKY_SLOPE, inplace=True)
            if self.skip is not None and i == 1:
                y = y + self.skip(x)
            elif self.skip is not None and i == 3:
                y = y + maps[2]
            maps.append(y)
        return torch.add(x, self.fuse(torch.cat(maps, 1)), alpha=RESIDUAL_SCALE)


class SpatialFeatureTransform(nn.Module):
    """Affine modulation of features by a condition map; the identity at the start."""

    def __init__(self, features: int, condition: int) -> None:
        super().__init__()
        self.scale = self._branch(condition, features)
        self.shift = self._branch(condition, features)

    @staticmethod
    def _branch(condition: int, features: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(condition, condition, 1),
            nn.LeakyReLU(0.1),
            zero_init(nn.Conv2d(condition, features, 1)),
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return x * (1 + gamma(condition)) + beta(condition)."""
        return x * (1 + self.scale(condition)) + self.shift(condition)


class RRDB(nn.Module):
    """Residual in residual dense block, with an optional SFT on the residual branch.

    `sft` is "none", "block" (one SFT per RRDB, on what enters the branch) or "dense" (one before
    each of the three dense blocks).
    """

    def __init__(
        self, features: int, growth: int, *, extra_skips: bool = False, sft: str = "none"
    ) -> None:
        super().__init__()
        n_sft = {"none": 0, "block": 1, "dense": 3}[sft]
        self.dense = nn.ModuleList(
            ResidualDenseBlock(features, growth, extra_skips=extra_skips) for _ in range(3)
        )
        self.sft = nn.ModuleList(SpatialFeatureTransform(features, features) for _ in range(n_sft))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """``(batch, features, y, x)`` -> the same shape."""
        y = x
        for i, block in enumerate(self.dense):
            if i < len(self.sft):
                y = self.sft[i](y, condition)
            y = block(y)
        return torch.add(x, y, alpha=RESIDUAL_SCALE)
