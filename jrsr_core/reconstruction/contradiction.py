"""Whether an image contradicts its measurement: the rule by which it is not delivered as normal.

With r the k-space residual of an image and e what noise explains (`quality`), it contradicts if

    sqrt(r^2 - e^2) > EXCESS   and   r > RATIO e

Noise cannot explain more than was measured: a level by which it does, or that is unknown, is wrong
and excuses nothing, so that e counts as 0 then.

A volume is judged by its worst readout position (`report.ReportFigures.worst`). Such an image is
recalibrated from the lines of its own where it was given other ones; if it still contradicts,
`Contradiction` is raised, and the caller delivers a marked fallback reconstruction.
"""

import math
from dataclasses import dataclass

from jrsr_core.data import ReconReport

EXCESS = 0.25
"""Part of the measurement, beyond its noise, that no image of a working system contradicts. Over
321 test slices of brain-5x the largest is 0.10 (`t2net`, `bicubic`; `jrsr-dc` 0.02), while maps of
another object leave 0.59 and a wrong centre of k-space 0.62; the limit is their geometric mean."""

RATIO = 2.0
"""Times what noise explains; an error of the noise level alone cannot reach it."""

IMPOSSIBLE = 1.1
"""Part of the measurement that noise cannot explain: 1, and the error of an estimate."""


class Contradiction(ValueError):
    """An image whose k-space residual is far larger than noise explains; one line."""


@dataclass(frozen=True)
class Residual:
    """A relative k-space residual, what noise explains of it, and where in a volume it was found.

    `position` is that along the readout, None for a slice.
    """

    measured: float
    expected: float
    position: int | None = None

    @property
    def explained(self) -> float:
        """What noise explains; 0 where its level cannot be right."""
        return self.expected if self.expected < IMPOSSIBLE else 0.0

    @property
    def excess(self) -> float:
        """What noise does not explain."""
        return math.sqrt(max(self.measured**2 - self.explained**2, 0.0))

    @property
    def contradicts(self) -> bool:
        """Whether an image of this residual contradicts the measurement."""
        return self.excess > EXCESS and self.measured > RATIO * self.explained

    def __str__(self) -> str:
        where = "" if self.position is None else f" at readout position {self.position}"
        text = f"k-space residual {self.measured:.3f}{where}, noise explains {self.expected:.3f}"
        is_possible = self.expected < IMPOSSIBLE
        return text if is_possible else f"{text}, which cannot be: the noise level is wrong"


def contradiction(report: ReconReport) -> Contradiction | None:
    """Return the error of a slice that contradicts its measurement, else None."""
    return contradiction_of(
        report.model, Residual(report.kspace_residual, report.expected_residual)
    )


def contradiction_of(model: str, residual: Residual) -> Contradiction | None:
    """Return the error of an image of this residual, None if it agrees with its measurement."""
    if not residual.contradicts:
        return None
    return Contradiction(f"{model}: image contradicts the measurement: {residual}")
