"""The second pass of `jrsr-dc` (ours): both tasks again, from the image of the first pass.

    x_1 = image on the LR grid,   d = image - up(x_1)
    x_2 = argmin |A x - b|^2 + lambda |x - P D(s)|^2,   s = x_1 - eta A^H (A x_1 - b)
    x_SR = up(x_2) + p SR(A^H b, x_2, d),   image <- argmin |A x - b|^2 + mu(sigma) |x - x_SR|^2

x_1 is nearer to the truth than x_rec, because SR and the consistency on the HR grid have changed
it; one step of Rec from there keeps this. Rec, SR and mu have weights of their own, which start as
those of the first pass, and d starts without effect. The first pass is not trained further.
"""

from dataclasses import replace

from torch import Tensor, nn

from jrsr_core.physics.resolution import sinc_interpolate

from .complex_sr import DETAIL_CHANNELS, consistent_image
from .consistency import DataConsistency, Outcome
from .interfaces import Clock
from .measurement import Measurement
from .rec import RecConfig, RecModule
from .sr import SrConfig, SrModule


class Refinement(nn.Module):
    """One step of Rec, SR and data consistency, from an HR image; SR has `n_blocks` RRDBs."""

    def __init__(self, rec: RecConfig, sr: SrConfig, n_blocks: int) -> None:
        super().__init__()
        self.rec = RecModule(rec)
        self.sr = SrModule(replace(sr, n_in=sr.n_in + DETAIL_CHANNELS, n_blocks=n_blocks))
        self.consistency = DataConsistency()

    def forward(self, image: Tensor, measured: Measurement, clock: Clock) -> tuple[Outcome, Tensor]:
        """Return what data consistency gives for an image ``(batch, 2y, 2x)``, and x_2."""
        x_1 = sinc_interpolate(image, measured.lr_shape)
        detail = image - sinc_interpolate(x_1, measured.hr_shape)
        x_2 = self.rec.step(x_1, measured.zero_filled, measured.lr_sense, measured.conditions)
        clock.lap("rec")
        return consistent_image(self.sr, self.consistency, x_2, measured, clock, detail), x_2
