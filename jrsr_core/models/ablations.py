"""The ablations of the paper (section 4.1): the modules of `Jrsr` alone or simply in series.

sr          image = SR(|A^H b|)
recon       image = fixed point of PGD on the HR grid with the zero-padded mask (eq. 1)
recon-sr    image = SR(|x_rec|), trained apart: no gradient of the image reaches Rec
recon+sr    image = SR(|x_rec|), trained end to end

No SFT in these. Ours, between `recon+sr` and `jrsr`, whose input is |A^H b| instead of |x_rec|:

recon+sr-sft   image = SR(|x_rec|; c = conv(x_rec)), trained end to end

Each is a value of `AblationConfig`.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from jrsr_core.physics.resolution import sinc_interpolate
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.tensors import to_channels

from .interfaces import Clock, JointModel, ModelOutput, at_low_resolution
from .rec import AVERAGING, HR_AVERAGING, RecConfig, RecModule
from .sr import SrConfig, SrModule


@dataclass(frozen=True)
class AblationConfig:
    """Which modules there are; Rec alone works on the HR grid.

    Without `end_to_end` no gradient of the image reaches Rec.
    """

    rec: RecConfig | None = None
    sr: SrConfig | None = None
    end_to_end: bool = True

    def __post_init__(self) -> None:
        """Refuse a model without modules, and SFT without Rec."""
        if self.rec is None and self.sr is None:
            raise ValueError("an ablation needs rec, sr or both, got neither")
        sft = self.sr.sft if self.sr else "none"
        if self.rec is None and sft != "none":
            raise ValueError(f"sft is {sft!r}, without rec it can only be 'none'")


class Ablation(JointModel):
    """Rec, SR, or SR after Rec."""

    def __init__(self, config: AblationConfig) -> None:
        super().__init__()
        averaging = HR_AVERAGING if config.sr is None else AVERAGING
        self.rec = RecModule(config.rec, averaging) if config.rec is not None else None
        self.sr = SrModule(config.sr) if config.sr is not None else None
        self.end_to_end = config.end_to_end
        self.takes_start = self.rec is not None

    def parts(self) -> tuple[nn.Module | None, nn.Module | None]:
        """Return Rec and SR."""
        return self.rec, self.sr

    def fixed_points(self, output: ModelOutput) -> Tensor:
        """Return x_rec, on the HR grid without SR: the LR grid would lose all beyond its band."""
        return output.image if self.sr is None else output.low_resolution

    def forward(
        self,
        kspace: Tensor,
        sense: SenseOperator,
        noise_std: Tensor | None = None,
        *,
        x0: Tensor | None = None,
    ) -> ModelOutput:
        """Return the HR image, complex without an SR module; `noise_std` is not used.

        `x0` is the start of the fixed point; `recon` takes it on either grid.
        """
        clock = Clock()
        lr_kspace, lr_sense = at_low_resolution(kspace, sense)
        if self.sr is None:
            assert self.rec is not None  # AblationConfig requires one of them.
            start = None if x0 is None else sinc_interpolate(x0, sense.image_shape)
            x, report = self.rec(sense.adjoint(kspace), sense, x0=start)
            clock.lap("rec")
            lr_shape = (lr_kspace.shape[-2], lr_kspace.shape[-1])
            image, low_resolution = x, sinc_interpolate(x, lr_shape)
        else:
            low_resolution, report = lr_sense.adjoint(lr_kspace), None
            if self.rec is not None:
                low_resolution, report = self.rec(low_resolution, lr_sense, x0=x0)
            clock.lap("rec")
            seen = low_resolution if self.end_to_end else low_resolution.detach()
            condition = to_channels(seen) if self.sr.conv_condition is not None else None
            image = self.sr(seen.abs()[:, None], condition)[:, 0]
            clock.lap("sr")
        return ModelOutput(
            image,
            low_resolution,
            iterations=report.iterations if report else 0,
            residual=report.residual.flatten() if report else None,
            seconds=clock.laps,
        )
