"""Ends of the readout that were not measured: the part that an asymmetric echo leaves out.

A receiver delivers noise wherever it samples. So an end of the readout that is exactly zero in all
lines and coils was filled in afterwards, although its lines were measured.
"""

from __future__ import annotations

import numpy as np


def measured_part(is_there: np.ndarray) -> slice:
    """Return the part of the readout that was measured; it is empty if nothing was.

    Parameters
    ----------
    is_there
        Whether any sample at each place along kx is not zero, bool ``(kx,)``.
    """
    places = np.flatnonzero(is_there)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


def note_on_ends(axis: str, before: int, after: int, n: int) -> tuple[str, ...]:
    """Return a sentence about the ends that were not measured, none if both were.

    Parameters
    ----------
    axis
        Name of the readout for the user.
    before, after
        Samples of the ends.
    n
        Samples of the whole readout.
    """
    if not before and not after:
        return ()
    return (
        f"{axis}: {before} of {n} samples before and {after} of {n} after are zero in all lines: "
        "not measured",
    )
