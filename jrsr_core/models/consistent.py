"""HR data consistency after any system: the switch ``+dc`` (ours).

    image = argmin |A x - b|^2 + mu(sigma) |x - p x_SR|^2

p is the smooth phase of the LR reconstruction where the system gives a magnitude, 1 where it gives
a complex image. Without training, mu has the initial values of `DataConsistency`.
"""

from dataclasses import replace

from torch import Tensor

from jrsr_core.physics.sense import SenseOperator

from .consistency import DataConsistency
from .fixed_point import FixedPointSettings
from .interfaces import Clock, JointModel, ModelOutput
from .phase import smooth_phase


class Consistent(JointModel):
    """A system, made consistent with the measurement."""

    def __init__(self, model: JointModel) -> None:
        super().__init__()
        self.model = model
        self.consistency = DataConsistency()
        self.n_maps = model.n_maps

    def forward(
        self,
        kspace: Tensor,
        sense: SenseOperator,
        noise_std: Tensor | None = None,
        **solver: Tensor | FixedPointSettings | None,
    ) -> ModelOutput:
        """Return the complex consistent image; `solver` goes to the model."""
        if noise_std is None:
            raise ValueError("+dc needs noise_std, the noise of one k-space sample")
        output = self.model(kspace, sense, noise_std, **solver)
        clock = Clock()
        image, sense = output.image, sense.single_map()
        if not image.is_complex():
            _, phase = smooth_phase(output.low_resolution, sense.image_shape)
            image = image * phase
        consistent = self.consistency.outcome(image, sense.adjoint(kspace), sense, noise_std)
        clock.lap("consistency")
        return replace(output, seconds=output.seconds | clock.laps, **consistent)
