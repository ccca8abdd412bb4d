"""The reconstruction module: proximal gradient descent as a deep equilibrium model.

    s = x - eta A^H (A x - b),    x <- Gamma(s),    iterated to the fixed point   (paper, eq. 6)

Gamma(s) = P (a s + (1 - a) D(s)),  D(s) = c s + N(s),  N(s) = conv_out(RRDB(conv_in(s))), conv_out
zero at the start.

Where nothing was measured the gradient step is the identity, and two things keep x from drifting
there without end: P, the projection on the support of the coil maps, and the averaging with weight
1 - a, under which the fixed points of the unmeasured part are those of D. At equilibrium

    (A^H A + lambda) x = A^H b + lambda P D(s),   lambda = (1 - a) / (a eta),

the proximal counterpart of MoDL. eta = 2 sigmoid(rho) stays in (0, 2), where the gradient step
does not expand as long as |A| <= 1.

The same equilibrium is reached in two ways, `RecConfig.data_step`:

    gradient   the iteration above, the paper's; c = 0
    implicit   x <- argmin |A x - b|^2 + lambda |x - P D(s)|^2 by conjugate gradients; c = 0.9

I - dT/dx of the first is lambda-small wherever nothing was measured, and the Jacobian-free gradient
leaves it out: what undersampling hides is learned some thirty times too slowly. The second has
the data term inverted on both ways. After 400 scans of brain-5x its x_rec is better than that of
the first after 1500.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from jrsr_core.physics.sense import SenseOperator
from jrsr_core.physics.solvers import SolverReport, conjugate_gradient
from jrsr_core.tensors import to_channels, to_complex

from .fixed_point import (
    JACOBIAN_FREE,
    FixedPointSettings,
    Map,
    differentiable,
    solve_fixed_point,
)
from .implicit import regularised_solve
from .layers import RRDB, conv3, zero_init
from .precision import full_at_the_end

AVERAGING = 0.97
"""a at the start: lambda = 0.03."""

HR_AVERAGING = 0.9
"""On the HR grid D makes three quarters of k-space, and x follows it by 1 - a per step."""

TRAINING = FixedPointSettings("anderson", n_iter=30, tolerance=1e-3)

EVALUATION = FixedPointSettings("anderson", n_iter=50, tolerance=1e-3, memory=8)
"""The tolerance of the training: the networks were not trained on closer points. 1e-4 takes three
times the steps, costs up to 0.6 dB of PSNR where k-space has gaps and gains 0.03 dB at most."""

IMPLICIT_EVALUATION = FixedPointSettings("anderson", n_iter=50, tolerance=4e-3, memory=8)
"""Of implicit steps, whose residual counts what was not measured in full, not by 1 - a. 2e-3 gains
0.05 dB (5 validation slices of brain-5x, `jrsr`), 1e-2 costs 0.04 dB in two thirds of the steps."""

REFINED_EVALUATION = FixedPointSettings("anderson", n_iter=50, tolerance=2e-3, memory=8)
"""Of the first pass of `jrsr-dc` with a second one, whose weights were trained longest: 2e-3 gains
0.08 dB in 6 more steps (24 validation slices of brain-5x). On real scans it changes the PSNR by
-0.03 to 0.08 dB at 2.5x, but with one coil at 4x by -0.25 to -0.17 dB. 1e-3 gains nothing more."""

NEAR = 1e-2
N_HALF = 12
"""With half precision, implicit steps use it down to this residual and for this many steps at
most: 8 of 12 (`jrsr-dc`, brain-5x), and the PSNR changes by 0.004 dB. Gradient steps never do."""

QUIETEST = 1.3e-3
"""Smallest noise level that is passed to the networks, relative to the scaled image: that of the
quietest scans of training. Lower levels were not learned: at 60 dB they cost `jrsr-dc` 1.2 to 1.4
dB, at 50 dB 0.07 to 0.18 dB (brain-5x)."""

ALIASED, SPARSE, COVERED = 0.01, 0.10, 0.20
"""Least noise networks are given where up to `SPARSE` of the outer half of k-space is measured;
none from `COVERED` on, and linear in between. What is missing there looks like noise. With 2 to 14
of 96 lines outside 20 calibration lines the PSNR of `jrsr-dc` changes at 40 dB by -0.43 to +0.49,
mean +0.19 dB (10 draws of the mask), at 30 dB by -0.56 to +0.20, mean -0.03 dB (9 draws; 3 to 5
validation slices each). With such masks there may be more than one equilibrium: the same slice ends
at 27.9, 28.6 or 31.9 dB, depending on the level and on the number of steps."""

DATA_STEPS = {"gradient": 0.0, "implicit": 0.9}
"""Ways to the equilibrium, and the share c of s in D: below 1, so that x stays bound."""

N_START = 3
"""Steps of CG from A^H b before the first network step. 8 save no network steps."""

N_INNER = 4
"""Steps of CG of an implicit step, from the previous x: at the equilibrium x is already the
solution. 8 save no implicit steps; with 3 the residual falls too early and PSNR by 0.03 dB."""


@dataclass(frozen=True)
class RecConfig:
    """Size of the proximal network.

    `unshuffle` 2 runs the RRDBs on half the matrix with four times the input channels: the same
    cost as half the features on the full matrix, twice the receptive field. The paper's is 1.
    """

    features: int = 64
    growth: int = 32
    n_blocks: int = 1
    extra_skips: bool = False
    unshuffle: int = 1
    n_conditions: int = 0
    data_step: str = "gradient"

    def __post_init__(self) -> None:
        """Refuse what could not run."""
        if self.data_step not in DATA_STEPS:
            raise ValueError(f"data_step is {self.data_step!r}, known: {', '.join(DATA_STEPS)}")


class ProximalNetwork(nn.Module):
    """Gamma and D without P: complex ``(batch, y, x)``, condition maps ``(batch, n, y, x)``."""

    def __init__(self, config: RecConfig, averaging: float = AVERAGING) -> None:
        super().__init__()
        self.unshuffle = config.unshuffle
        self.identity = DATA_STEPS[config.data_step]
        n_pixels = config.unshuffle**2
        n_in = (2 + config.n_conditions) * n_pixels
        self.conv_in = conv3(n_in, config.features)
        self.blocks = nn.ModuleList(
            RRDB(config.features, config.growth, extra_skips=config.extra_skips)
            for _ in range(config.n_blocks)
        )
        self.conv_out = zero_init(conv3(config.features, 2 * n_pixels))
        self.averaging = nn.Parameter(torch.tensor(math.log(averaging / (1 - averaging))))

    def denoised(self, s: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Return D(s)."""
        channels = to_channels(s)
        x = channels if conditions is None else torch.cat((channels, conditions), 1)
        ny, nx = x.shape[-2:]
        x = functional.pad(x, (0, -nx % self.unshuffle, 0, -ny % self.unshuffle))
        x = functional.pixel_unshuffle(x, self.unshuffle)
        x = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        x = functional.pixel_shuffle(self.conv_out(x), self.unshuffle)[..., :ny, :nx]
        return to_complex(self.identity * channels + x)

    def forward(self, s: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Return a s + (1 - a) D(s)."""
        a = torch.sigmoid(self.averaging)
        return a * s + (1 - a) * self.denoised(s, conditions)


class RecModule(nn.Module):
    """Fixed point of proximal gradient descent with a learned proximal operator."""

    def __init__(self, config: RecConfig, averaging: float = AVERAGING) -> None:
        super().__init__()
        self.prox = ProximalNetwork(config, averaging)
        self.rho = nn.Parameter(torch.zeros(()))
        self.data_step = config.data_step
        self.is_implicit = config.data_step == "implicit"
        self.evaluation = IMPLICIT_EVALUATION if self.is_implicit else EVALUATION
        self.training_settings = TRAINING
        self.backward_settings = JACOBIAN_FREE

    @property
    def eta(self) -> Tensor:
        """Step size in (0, 2)."""
        return 2 * torch.sigmoid(self.rho)

    def step(
        self,
        x: Tensor,
        zero_filled: Tensor,
        sense: SenseOperator,
        conditions: Tensor | None,
        support: Tensor | None = None,
    ) -> Tensor:
        """Apply T once: a gradient step on the data term, then Gamma or the data solve.

        On the HR grid |A| <= g < 1, so the step is eta / g^2; on the LR grid g = 1. `support`
        is ``sense.support()``, where it is known already.
        """
        support = sense.support() if support is None else support
        gram_x = sense.gram(x)
        s = x - self.eta / sense.scale**2 * (gram_x - zero_filled)
        if not self.is_implicit:
            return support * self.prox(s, conditions)
        prior = support * self.prox.denoised(s, conditions)
        return self.data_solve(prior, zero_filled, sense, x, gram_x)

    def data_solve(
        self,
        prior: Tensor,
        zero_filled: Tensor,
        sense: SenseOperator,
        x0: Tensor,
        gram_x0: Tensor | None = None,
    ) -> Tensor:
        """Return argmin |A x - b|^2 + lambda |x - prior|^2, from `x0`; `gram_x0` is A^H A x0."""
        weight = self.weight(sense).expand(len(x0), 1, 1)
        return regularised_solve(prior, weight, zero_filled, sense, N_INNER, x0, gram_x0)

    def weight(self, sense: SenseOperator) -> Tensor:
        """Return lambda of the equilibrium, in the units of A^H A."""
        a = torch.sigmoid(self.prox.averaging)
        return sense.scale**2 * (1 - a) / (a * self.eta)

    def start(self, zero_filled: Tensor, sense: SenseOperator) -> Tensor:
        """Return the start of the iteration: nearly the fixed point of the untrained module."""
        x0 = zero_filled / sense.scale**2
        if self.training:
            return x0
        weight = self.weight(sense)
        x0, _ = conjugate_gradient(
            lambda x: sense.gram(x) + weight * x, zero_filled, x0=x0, n_iter=N_START
        )
        return x0

    def forward(
        self,
        zero_filled: Tensor,
        sense: SenseOperator,
        conditions: Tensor | None = None,
        *,
        x0: Tensor | None = None,
    ) -> tuple[Tensor, SolverReport]:
        """Return the fixed point ``(batch, y, x)`` from `x0`, `start` where None.

        `training_settings` and `evaluation` define how far it is sought.
        While gradients are on, the solve itself runs without a graph and one application of T at
        its end carries the gradient, as `backward_settings` define.
        """
        settings = self.training_settings if self.training else self.evaluation
        support = sense.support()

        def step(x: Tensor) -> Tensor:
            return self.step(x, zero_filled, sense, conditions, support)

        solving: Map = step
        if not self.training:
            n_half = N_HALF if self.is_implicit else 0
            solving = full_at_the_end(step, NEAR, n_half, zero_filled.device.type)
        with torch.no_grad():
            start = self.start(zero_filled, sense) if x0 is None else x0
            fixed_point, report = solve_fixed_point(solving, start, settings)
        # Else autocast would reuse the weights it has cast without a graph.
        torch.clear_autocast_cache()
        if torch.is_grad_enabled():
            fixed_point = differentiable(step, fixed_point, self.backward_settings)
        return fixed_point, report


def data_step_of(model: nn.Module) -> str | None:
    """Return the data step of the Rec module of a system; None where it has none."""
    return next((m.data_step for m in model.modules() if isinstance(m, RecModule)), None)


def condition_maps(noise_std: Tensor, sense: SenseOperator, shape: tuple[int, int]) -> Tensor:
    """Return noise level and undersampling as constant maps ``(batch, 2, y, x)``.

    Channel 0: log2 of the noise standard deviation of the scaled image over 0.01, in quarters, not
    below that of `QUIETEST` and of `aliasing`;
    channel 1: share of the grid that was not measured. FFDNet's way (Zhang et al., TIP 2018): a
    network without the noise level smooths clean scans as much as noisy ones.
    """
    missing = 1 - sense.mask.mean((-2, -1)).reshape(-1).expand(noise_std.shape[0])
    least = aliasing(sense.mask).clamp_min(QUIETEST)
    level = torch.log2(torch.maximum(noise_std, least) / 0.01) / 4
    maps = torch.stack((level, missing.to(level.dtype)), 1)
    return maps[..., None, None].expand(-1, -1, *shape)


def aliasing(mask: Tensor) -> Tensor:
    """Return the least noise level for masks ``(..., ky, kx)``, ``(batch,)`` or, of one mask, (1,).

    It depends on the measured share of the outer half of k-space, along the axis where it is less.
    """
    share = torch.minimum(_outer_mean(mask.mean(-1)), _outer_mean(mask.mean(-2))).reshape(-1)
    return ALIASED * ((COVERED - share) / (COVERED - SPARSE)).clamp(0.0, 1.0)


def _outer_mean(lines: Tensor) -> Tensor:
    """Return the mean of the outer half of the last axis, without waiting for a GPU."""
    n = lines.shape[-1]
    outer = (torch.arange(n, device=lines.device) - n // 2).abs() > n / 4
    return (lines * outer).sum(-1) / outer.sum()
