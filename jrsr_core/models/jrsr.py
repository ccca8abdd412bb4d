"""The joint models: `Jrsr` as published, `JrsrDc` with more of the physics of the scan.

Jrsr (Xu et al., Bioengineering 2023, 10, 1107):
    x_rec = fixed point of PGD on the LR grid,   image = SR(|A^H b|; c = conv(x_rec)), a magnitude

JrsrDc (ours): complex output, networks conditioned on the noise level and the undersampling, the
smooth phase of the object removed before the SR module and restored after it, data consistency:
    x_SR = up(x_rec) + p SR(...),   image = argmin |A x - b|^2 + mu(sigma) |x - x_SR|^2
With a refinement, both tasks are done a second time, from this image.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from jrsr_core.physics.resolution import sinc_interpolate
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.tensors import to_channels

from .complex_sr import consistent_image
from .consistency import DataConsistency, denoising
from .interfaces import Clock, JointModel, ModelOutput, at_low_resolution
from .measurement import Measurement
from .rec import REFINED_EVALUATION, RecConfig, RecModule
from .refinement import Refinement
from .sr import SrConfig, SrModule


@dataclass(frozen=True)
class JrsrConfig:
    """Sizes of both modules."""

    rec: RecConfig = field(default_factory=RecConfig)
    sr: SrConfig = field(default_factory=SrConfig)


@dataclass(frozen=True)
class JrsrDcConfig(JrsrConfig):
    """Sizes of both modules, and whether both tasks are done a second time (`refinement`).

    SR of the second pass has `refinement_blocks` RRDBs; 0: as many as that of the first one.
    """

    refinement: bool = False
    refinement_blocks: int = 0


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
    """Complex, conditioned, consistent with the measurement on the HR grid.

    With a `refinement`, that is what training changes, and the first pass stays as it is.
    """

    takes_start = True

    def __init__(self, config: JrsrDcConfig) -> None:
        super().__init__()
        self.rec = RecModule(config.rec)
        self.sr = SrModule(config.sr)
        self.consistency = DataConsistency()
        self.refinement: Refinement | None = None
        if config.refinement:
            self.requires_grad_(False)
            if self.rec.is_implicit:
                self.rec.evaluation = REFINED_EVALUATION
            n_blocks = config.refinement_blocks or config.sr.n_blocks
            self.refinement = Refinement(config.rec, config.sr, n_blocks)

    def train(self, mode: bool = True) -> "JrsrDc":
        """Set the mode of what is trained; a first pass that is not trained stays in evaluation."""
        super().train(mode)
        if self.refinement is not None:
            for module in (self.rec, self.sr, self.consistency):
                module.eval()
        return self

    def parts(self) -> tuple[nn.Module, nn.Module]:
        """Return Rec and SR, those that are trained."""
        trained = self if self.refinement is None else self.refinement
        return trained.rec, trained.sr

    @property
    def keeps_first_pass(self) -> bool:
        """Whether a start `x0` is the image of the first pass, which is then left out."""
        return self.refinement is not None

    def fixed_points(self, output: ModelOutput) -> Tensor:
        """Return x_rec; the HR image of the first pass where that is not trained."""
        return output.low_resolution if output.first is None else output.first

    def forward(
        self,
        kspace: Tensor,
        sense: SenseOperator,
        noise_std: Tensor | None = None,
        *,
        x0: Tensor | None = None,
    ) -> ModelOutput:
        """Return the consistent HR image; `noise_std` ``(batch,)`` in the units of `kspace`."""
        clock = Clock()
        measured = Measurement.of(kspace, sense, noise_std)
        if self.refinement is None:
            return self._first_pass(measured, x0, clock)
        if x0 is None:
            with torch.no_grad(), denoising(0.0):
                first = self._first_pass(measured, None, clock)
            # Else autocast would reuse the weights it has cast without a graph.
            torch.clear_autocast_cache()
        else:
            is_hr = x0.shape[-2:] == measured.hr_shape
            first = ModelOutput(x0 if is_hr else sinc_interpolate(x0, measured.hr_shape), x0)
        refined, low_resolution = self.refinement(first.image, measured, clock)
        return replace(
            first,
            low_resolution=low_resolution,
            seconds=clock.laps,
            first=first.image,
            **refined,
        )

    def _first_pass(self, measured: Measurement, x0: Tensor | None, clock: Clock) -> ModelOutput:
        x_rec, report = self.rec(
            measured.zero_filled, measured.lr_sense, measured.conditions, x0=x0
        )
        clock.lap("rec")
        consistent = consistent_image(self.sr, self.consistency, x_rec, measured, clock)
        return ModelOutput(
            low_resolution=x_rec,
            iterations=report.iterations,
            residual=report.residual.flatten(),
            seconds=clock.laps,
            **consistent,
        )
