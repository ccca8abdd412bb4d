"""What was measured of a slice, as the modules of `jrsr-dc` take it."""

from dataclasses import dataclass

from torch import Tensor

from jrsr_core.physics.sense import SenseOperator

from .interfaces import at_low_resolution
from .rec import condition_maps


@dataclass(frozen=True, eq=False)
class Measurement:
    """k-space of a slice on both grids, and what the networks are told of it.

    Attributes
    ----------
    sense, lr_sense
        Operators on the HR and on the LR grid.
    adjoint, zero_filled
        A^H b on the HR and on the LR grid, complex ``(batch, y, x)``.
    noise_std
        sqrt(E|n|^2) of one sample, ``(batch,)``.
    conditions
        Noise level and undersampling, see `rec.condition_maps`.
    """

    sense: SenseOperator
    lr_sense: SenseOperator
    adjoint: Tensor
    zero_filled: Tensor
    noise_std: Tensor
    conditions: Tensor

    @classmethod
    def of(cls, kspace: Tensor, sense: SenseOperator, noise_std: Tensor | None) -> "Measurement":
        """Return the measurement of k-space ``(batch, coil, ky, kx)``.

        Raises
        ------
        ValueError
            No `noise_std`, or k-space without its batch axis.
        """
        if noise_std is None:
            raise ValueError("jrsr-dc needs noise_std, the noise of one k-space sample")
        lr_kspace, lr_sense = at_low_resolution(kspace, sense)
        zero_filled = lr_sense.adjoint(lr_kspace)
        shape = (zero_filled.shape[-2], zero_filled.shape[-1])
        return cls(
            sense,
            lr_sense,
            sense.adjoint(kspace),
            zero_filled,
            noise_std,
            condition_maps(noise_std, lr_sense, shape),
        )

    @property
    def hr_shape(self) -> tuple[int, int]:
        """Shape of the HR grid."""
        return self.sense.image_shape

    @property
    def lr_shape(self) -> tuple[int, int]:
        """Shape of the LR grid."""
        return self.lr_sense.image_shape
