"""Reconstructions without weights: zero-filled, and CG-SENSE (Pruessmann et al., MRM 2001).

zero-filled   x = A^H b
CG-SENSE      x = argmin |A x - b|^2 + lambda |x|^2,   (A^H A + lambda) x = A^H b
"""

from torch import Tensor

from jrsr_core.physics.sense import SenseOperator
from jrsr_core.physics.solvers import conjugate_gradient

from .interfaces import ReconModel

# Best of `jrsr-train tune --data brain_val.h5 --slices 12` for CG-SENSE + bicubic.
LAMBDA = 3e-3
N_ITER = 15


class CgSense(ReconModel):
    """Regularised least squares by conjugate gradients from zero."""

    def __init__(self, *, regularisation: float = LAMBDA, n_iter: int = N_ITER) -> None:
        super().__init__()
        self.regularisation = regularisation
        self.n_iter = n_iter

    def forward(
        self, kspace: Tensor, sense: SenseOperator, noise_std: Tensor | None = None
    ) -> Tensor:
        """Return the complex image on the grid of `sense`; `noise_std` is not used."""
        image, _ = conjugate_gradient(
            lambda x: sense.gram(x) + self.regularisation * x,
            sense.adjoint(kspace),
            n_iter=self.n_iter,
            tolerance=1e-5,
            n_dims=sense.n_image_dims,
        )
        return image


class ZeroFilled(ReconModel):
    """The adjoint: unmeasured samples stay zero, measured ones are not weighted up."""

    explains_measurement = False

    def forward(
        self, kspace: Tensor, sense: SenseOperator, noise_std: Tensor | None = None
    ) -> Tensor:
        """Return A^H b."""
        return sense.adjoint(kspace)
