"""HR data consistency after any system: the switch ``+dc`` (ours).

    image = argmin |A x - b|^2 + mu(sigma) |x - p x_SR|^2

p is the smooth phase of the LR reconstruction where the system gives a magnitude, 1 where it gives
a complex image. Without training, mu has the initial values of `DataConsistency`.
"""

from dataclasses import replace

from torch import Tensor, nn

from jrsr_core.physics.sense import SenseOperator

from .consistency import DataConsistency
from .interfaces import Clock, JointModel, ModelOutput
from .phase import smooth_phase


class Consistent(JointModel):
    """A system, made consistent with the measurement."""

    def __init__(self, model: JointModel) -> None:
        super().__init__()
        self.model = model
        self.consistency = DataConsistency()
        self.n_maps = model.n_maps
        self.takes_start = model.takes_start

    def parts(self) -> tuple[nn.Module | None, nn.Module | None]:
        """Return those of the system."""
        return self.model.parts()

    def fixed_points(self, output: ModelOutput) -> Tensor:
        """Return those of the system, whose HR image is the prior of this one."""
        image = output.image if output.prior is None else output.prior
        return self.model.fixed_points(replace(output, image=image))

    def forward(
        self,
        kspace: Tensor,
        sense: SenseOperator,
        noise_std: Tensor | None = None,
        *,
        x0: Tensor | None = None,
    ) -> ModelOutput:
        """Return the complex consistent image; `x0` is a start for the iteration of the system."""
        if noise_std is None:
            raise ValueError("+dc needs noise_std, the noise of one k-space sample")
        start = {} if x0 is None else {"x0": x0}
        output = self.model(kspace, sense, noise_std, **start)
        clock = Clock()
        image, sense = output.image, sense.single_map()
        if not image.is_complex():
            _, phase = smooth_phase(output.low_resolution, sense.image_shape)
            image = image * phase
        consistent = self.consistency.outcome(image, sense.adjoint(kspace), sense, noise_std)
        clock.lap("consistency")
        return replace(output, seconds=output.seconds | clock.laps, **consistent)
