"""The joint models: `Jrsr` as published, `JrsrDc` with more of the physics of the scan.

Jrsr (Xu et al., Bioengineering 2023, 10, 1107):
    x_rec = fixed point of PGD on the LR grid,   image = SR(|A^H b|; c = conv(x_rec)), a magnitude

JrsrDc (ours): complex output, networks conditioned on the noise level and the undersampling, the
smooth phase of the object removed before the SR module and restored after it, data consistency:
    x_SR = up(x_rec) + p SR(...),   image = argmin |A x - b|^2 + mu(sigma) |x - x_SR|^2
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from jrsr_core.physics.resolution import sinc_interpolate
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.tensors import to_channels, to_complex

from .consistency import DataConsistency
from .interfaces import Clock, JointModel, ModelOutput, at_low_resolution
from .phase import smooth_phase
from .rec import RecConfig, RecModule, condition_maps
from .sr import SrConfig, SrModule


@dataclass(frozen=True)
class JrsrConfig:
    """Sizes of both modules."""

    rec: RecConfig = field(default_factory=RecConfig)
    sr: SrConfig = field(default_factory=SrConfig)


class Jrsr(JointModel):
    """The proposed network of the paper: magnitude SR, x_rec enters through SFT only."""

    takes_start = True

    def __init__(self, config: JrsrConfig) -> None:
        super().__init__()
        self.rec = RecModule(config.rec)
        self.sr = SrModule(config.sr)

    def parts(self) -> tuple[nn.Module, nn.Module]:
        """Return Rec and SR."""
        return self.rec, self.sr

    def forward(
        self,
        kspace: Tensor,
        sense: SenseOperator,
        noise_std: Tensor | None = None,
        *,
        x0: Tensor | None = None,
    ) -> ModelOutput:
        """Return the HR magnitude and x_rec; `noise_std` is not used by this model."""
        clock = Clock()
        lr_kspace, lr_sense = at_low_resolution(kspace, sense)
        zero_filled = lr_sense.adjoint(lr_kspace)
        x_rec, report = self.rec(zero_filled, lr_sense, x0=x0)
        clock.lap("rec")
        image = self.sr(zero_filled.abs()[:, None], to_channels(x_rec))[:, 0]
        clock.lap("sr")
        return ModelOutput(
            image,
            x_rec,
            iterations=report.iterations,
            residual=report.residual.flatten(),
            seconds=clock.laps,
        )


class JrsrDc(JointModel):
    """Complex, conditioned, consistent with the measurement on the HR grid."""

    takes_start = True

    def __init__(self, config: JrsrConfig) -> None:
        super().__init__()
        self.rec = RecModule(config.rec)
        self.sr = SrModule(config.sr)
        self.consistency = DataConsistency()

    def parts(self) -> tuple[nn.Module, nn.Module]:
        """Return Rec and SR."""
        return self.rec, self.sr

    def super_resolve(
        self, x_rec: Tensor, zero_filled: Tensor, conditions: Tensor, hr_shape: tuple[int, int]
    ) -> Tensor:
        """Return x_SR, complex ``(batch, 2y, 2x)``: the interpolated x_rec plus what SR adds."""
        phase, hr_phase = smooth_phase(x_rec, hr_shape)
        known = to_channels(x_rec * phase.conj())
        inputs = torch.cat((to_channels(zero_filled * phase.conj()), known, conditions), 1)
        detail = to_complex(self.sr(inputs, known))
        return sinc_interpolate(x_rec, hr_shape) + hr_phase * detail

    def forward(
        self,
        kspace: Tensor,
        sense: SenseOperator,
        noise_std: Tensor | None = None,
        *,
        x0: Tensor | None = None,
    ) -> ModelOutput:
        """Return the consistent HR image; `noise_std` ``(batch,)`` in the units of `kspace`."""
        if noise_std is None:
            raise ValueError("jrsr-dc needs noise_std, the noise of one k-space sample")
        clock = Clock()
        lr_kspace, lr_sense = at_low_resolution(kspace, sense)
        zero_filled = lr_sense.adjoint(lr_kspace)
        shape = (zero_filled.shape[-2], zero_filled.shape[-1])
        conditions = condition_maps(noise_std, lr_sense, shape)
        x_rec, report = self.rec(zero_filled, lr_sense, conditions, x0=x0)
        clock.lap("rec")
        x_sr = self.super_resolve(x_rec, zero_filled, conditions, sense.image_shape)
        clock.lap("sr")
        consistent = self.consistency.outcome(x_sr, sense.adjoint(kspace), sense, noise_std)
        clock.lap("consistency")
        return ModelOutput(
            low_resolution=x_rec,
            iterations=report.iterations,
            residual=report.residual.flatten(),
            seconds=clock.laps,
            **consistent,
        )
