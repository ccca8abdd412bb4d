"""DL-ESPIRiT: unrolled proximal gradient on two ESPIRiT map sets (Sandino et al., MRM 2021).

    s_k = x_k - eta_k A^H (A x_k - b),    x_(k+1) = s_k + R_k(s_k),    x_0 = A^H b

A is soft-SENSE, x = (x_1, x_2) holds one image per map set, and every step has weights of its own.
R: pre-activation residual blocks (He et al., ECCV 2016) without normalisation. This is the 2-D
variant: the separable 3-D convolutions of the dynamic original without those along time. The last
convolution of every R starts at zero, eta at 1 (ours): untrained it is gradient descent.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from jrsr_core.physics.sense import SenseOperator
from jrsr_core.tensors import to_channels, to_complex

from .interfaces import ReconModel, check_batch
from .layers import conv3, zero_init


@dataclass(frozen=True)
class DlEspiritConfig:
    """Steps, residual blocks in each, features, map sets."""

    features: int = 128
    n_blocks: int = 2
    n_steps: int = 5
    n_maps: int = 2


class PreActivationBlock(nn.Module):
    """conv(relu(conv(relu(x)))) + x, by a 1x1 convolution where the channels differ."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.first, self.second = conv3(n_in, n_out), conv3(n_out, n_out)
        self.shortcut = nn.Identity() if n_in == n_out else nn.Conv2d(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, n_in, y, x)`` -> ``(batch, n_out, y, x)``."""
        branch = self.second(functional.relu(self.first(functional.relu(x))))
        return branch + self.shortcut(x)


class ResidualNetwork(nn.Module):
    """s -> s + R(s), complex ``(batch, map, y, x)``."""

    def __init__(self, config: DlEspiritConfig) -> None:
        super().__init__()
        widths = [2 * config.n_maps, *[config.features] * config.n_blocks]
        self.blocks = nn.Sequential(*(PreActivationBlock(a, b) for a, b in pairwise(widths)))
        self.conv_out = zero_init(conv3(widths[-1], widths[0]))

    def forward(self, s: Tensor) -> Tensor:
        """Return the proximal point."""
        channels = to_channels(s).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        residual = self.conv_out(functional.relu(self.blocks(channels)))
        return s + to_complex(residual.unflatten(1, (s.shape[1], 2)))


class DlEspirit(ReconModel):
    """Unrolled steps, each a gradient step on all map sets and a residual network."""

    def __init__(self, config: DlEspiritConfig) -> None:
        super().__init__()
        self.n_maps = config.n_maps
        self.prox = nn.ModuleList(ResidualNetwork(config) for _ in range(config.n_steps))
        self.eta = nn.Parameter(torch.ones(config.n_steps))

    def forward(
        self, kspace: Tensor, sense: SenseOperator, noise_std: Tensor | None = None
    ) -> Tensor:
        """Return the image of the first map set, complex ``(batch, y, x)``.

        Map sets that `sense` lacks count as zero; `noise_std` is not used.
        """
        check_batch(kspace)
        sense = sense.with_maps(self.n_maps)
        zero_filled = sense.adjoint(kspace)
        x = zero_filled
        for eta, prox in zip(self.eta, self.prox, strict=True):
            x = prox(x - eta * (sense.gram(x) - zero_filled))
        return sense.first_image(x)
