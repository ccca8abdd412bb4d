"""MoDL: a learned denoiser and the exact data term in turns (Aggarwal et al., TMI 2019).

    z_k = x_k + N(x_k),    x_(k+1) = argmin |A x - b|^2 + lambda |x - z_k|^2,    x_0 = A^H b

Weights and lambda are shared by the K iterations. N: 3x3 convolutions without bias, each followed
by a normalisation with the statistics of this call and, but for the last, a ReLU. The original
trains with a batch of 1, so its batch statistics are those of one image: so are ours, for every
image of a batch, in training and after. The last normalisation starts at gain 0 (ours): an
untrained MoDL is K proximal steps towards the least-squares solution.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from jrsr_core.physics.sense import SenseOperator
from jrsr_core.tensors import to_channels, to_complex

from .implicit import regularised_solve
from .interfaces import ReconModel, check_batch

LAMBDA = 0.05


@dataclass(frozen=True)
class ModlConfig:
    """Size of the denoiser, iterations K, and steps of conjugate gradients in each."""

    features: int = 64
    n_layers: int = 5
    n_iterations: int = 10
    n_cg: int = 10


class Denoiser(nn.Module):
    """x -> x + N(x), complex ``(batch, y, x)``."""

    def __init__(self, config: ModlConfig) -> None:
        super().__init__()
        widths = [2, *[config.features] * (config.n_layers - 1), 2]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            conv = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
            last = nn.InstanceNorm2d(n_out, affine=True)
            layers += [conv, last, nn.ReLU()]
        layers.pop()
        self.layers = nn.Sequential(*layers)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the denoised image."""
        channels = to_channels(x).contiguous(memory_format=torch.channels_last)
        return x + to_complex(self.layers(channels))


class Modl(ReconModel):
    """K times denoiser and data term."""

    def __init__(self, config: ModlConfig) -> None:
        super().__init__()
        self.config = config
        self.denoiser = Denoiser(config)
        self.log_lambda = nn.Parameter(torch.tensor(math.log(LAMBDA)))

    def forward(
        self, kspace: Tensor, sense: SenseOperator, noise_std: Tensor | None = None
    ) -> Tensor:
        """Return the complex image ``(batch, y, x)``; `noise_std` is not used."""
        check_batch(kspace)
        zero_filled = sense.adjoint(kspace)
        mu = self.log_lambda.exp().expand(zero_filled.shape[0], 1, 1)
        x = zero_filled
        for _ in range(self.config.n_iterations):
            x = regularised_solve(self.denoiser(x), mu, zero_filled, sense, self.config.n_cg)
        return x
