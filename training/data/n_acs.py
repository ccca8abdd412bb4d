"""How many calibration lines (ACS, auto-calibration signal) a protocol has on a small matrix."""

from jrsr_core.physics.resolution import Shape
from jrsr_core.simulation.protocols import Protocol

SHARE_OF_LINES = 0.75
SHARE_OF_POINTS = 0.5
"""Largest share of the sampled lines, or points of a 2-D mask, that the ACS takes."""


def fitting_acs(protocol: Protocol, lr_shape: Shape) -> int:
    """Return the ACS of a protocol, reduced where the matrix has too few samples for it.

    Training and evaluation scan with the same number, and so with the same mask.
    """
    if protocol.mask == "poisson":
        n_points = lr_shape[0] * lr_shape[1] / protocol.acceleration
        room = int((n_points * SHARE_OF_POINTS) ** 0.5)
    else:
        room = int(SHARE_OF_LINES * round(lr_shape[0] / protocol.acceleration))
    return min(protocol.n_acs, room)
