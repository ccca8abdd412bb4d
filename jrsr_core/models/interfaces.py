"""The interfaces of all systems.

k-space is ``(batch, coil, ky, kx)`` on the acquired grid, scaled to max |zero-filled LR image| = 1;
`sense` maps an image to that k-space and defines the part of it on the LR grid. Models use no FFT,
header or file.
"""

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from jrsr_core.physics.sense import SenseOperator
from jrsr_core.tensors import waits


@dataclass(frozen=True)
class ModelOutput:
    """What a system returns.

    Attributes
    ----------
    image
        HR image ``(batch, y, x)``: complex64, or float32 if the system works on magnitudes.
    low_resolution
        complex64 ``(batch, y, x)``, the reconstruction on the LR grid.
    iterations, residual
        Of the iterative part: applications done, and the relative residual of the returned iterate
        per sample.
    seconds
        Wall-clock per part, filled in outside training.
    prior, prior_weight
        HR image before it was made consistent with the measurement, and the weight mu it has in
        that step where the measured noise is kept; None without it.
    denoise
        How far that step removed the measured noise, see `models.consistency`.
    first
        HR image of the first pass of a system that has two; None otherwise.
    """

    image: Tensor
    low_resolution: Tensor
    iterations: int = 0
    residual: Tensor | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    prior: Tensor | None = None
    prior_weight: Tensor | None = None
    denoise: float = 0.0
    first: Tensor | None = None


class Clock:
    """Seconds of the parts of a model by name; on a GPU a lap includes the work in flight.

    Within `without_waiting` it does not, and is the time that launching the work took.
    """

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End the part `name`, which began with the construction or the lap before.

        The seconds of parts of one name are added.
        """
        if torch.cuda.is_available() and waits():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self._last
        self._last = now


def check_batch(kspace: Tensor) -> None:
    """Raise a `ValueError` of one line unless k-space has exactly one batch axis."""
    if kspace.ndim != 4:
        raise ValueError(
            f"kspace is {tuple(kspace.shape)}, expected (batch, coil, ky, kx): kspace[None] is a "
            "batch of one"
        )


def at_low_resolution(kspace: Tensor, sense: SenseOperator) -> tuple[Tensor, SenseOperator]:
    """Return the k-space of the LR grid and its operator; raises as `check_batch`."""
    check_batch(kspace)
    return sense.low_resolution_kspace(kspace), sense.at_low_resolution()


def check_returned(
    module: nn.Module, found: object, given: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Raise a `ValueError` of one line if a network returned something of another shape.

    Parameters
    ----------
    module
        The network; its class is named.
    found, expected
        What it returned, and the shape that this should have.
    given
        Shape of its input.
    """
    shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    if shape != tuple(expected):
        name = type(module).__name__
        raise ValueError(f"{name} returned {shape} for {tuple(given)}, expected {tuple(expected)}")


class ReconModel(nn.Module):
    """Undersampled k-space -> image on the grid of `sense`.

    `n_maps` is the number of coil map sets it uses (soft-SENSE); `explains_measurement` is False
    where its images are not meant to agree with the measurement.
    """

    n_maps = 1
    explains_measurement = True

    def forward(
        self, kspace: Tensor, sense: SenseOperator, noise_std: Tensor | None = None
    ) -> Tensor:
        """Return the complex image ``(batch, y, x)``.

        `noise_std` ``(batch,)`` is sqrt(E|n|^2) of one k-space sample, in the units of `kspace`.
        """
        raise NotImplementedError


class UpsampleModel(nn.Module):
    """Image on the LR grid -> HR image."""

    def forward(self, image: Tensor) -> Tensor:
        """Return ``(batch, 2 y, 2 x)`` for an image ``(batch, y, x)``."""
        raise NotImplementedError


class JointModel(nn.Module):
    """k-space and the operator on the HR grid -> HR image and LR reconstruction.

    `n_maps` and `explains_measurement` are as in `ReconModel`. `takes_start` is True where
    `forward` takes the keyword `x0`, a start of the iteration ``(batch, y, x)``. Training uses it,
    `parts` and `fixed_points`.
    """

    n_maps = 1
    explains_measurement = True
    takes_start = False

    @property
    def keeps_first_pass(self) -> bool:
        """Whether a start `x0` is the image of a pass that is not trained, which is left out."""
        return False

    def forward(
        self, kspace: Tensor, sense: SenseOperator, noise_std: Tensor | None = None
    ) -> ModelOutput:
        """Return a `ModelOutput`; `sense.image_shape` is the HR grid."""
        raise NotImplementedError

    def parts(self) -> tuple[nn.Module | None, nn.Module | None]:
        """Return the modules of reconstruction and upsampling, None for one that it lacks.

        A system that cannot be divided is its reconstruction.
        """
        return self, None

    def fixed_points(self, output: ModelOutput) -> Tensor:
        """Return the fixed points behind an output of this model, on the grid of their iteration.

        A start `x0` on that grid goes on where the iteration stopped.
        """
        return output.low_resolution


class TwoStage(JointModel):
    """A `ReconModel` on the LR grid, then an `UpsampleModel`."""

    def __init__(self, recon: ReconModel, upsample: UpsampleModel) -> None:
        super().__init__()
        self.recon = recon
        self.upsample = upsample
        self.n_maps = recon.n_maps
        self.explains_measurement = recon.explains_measurement

    def parts(self) -> tuple[nn.Module, nn.Module]:
        """Return both stages."""
        return self.recon, self.upsample

    def forward(
        self, kspace: Tensor, sense: SenseOperator, noise_std: Tensor | None = None
    ) -> ModelOutput:
        """Return the output of both stages."""
        clock = Clock()
        lr_kspace, lr_sense = at_low_resolution(kspace, sense)
        low_resolution = self.recon(lr_kspace, lr_sense, noise_std)
        expected = (*lr_kspace.shape[:-3], *lr_sense.image_shape)
        check_returned(self.recon, low_resolution, lr_kspace.shape, expected)
        clock.lap("rec")
        image = self.upsample(low_resolution)
        expected = (*low_resolution.shape[:-2], *sense.image_shape)
        check_returned(self.upsample, image, low_resolution.shape, expected)
        clock.lap("sr")
        return ModelOutput(image, low_resolution, seconds=clock.laps)
