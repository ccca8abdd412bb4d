"""Reads diffusion weightings from the elements ``diffusion`` of the ISMRMRD header."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass

MAX_B_VALUE = 1e6
"""s/mm2; no scanner reaches it."""

MAX_LENGTH_ERROR = 0.05
"""Deviation of the length of a gradient direction from 1 that is attributed to rounding."""


@dataclass(frozen=True)
class Diffusion:
    """Diffusion weighting of an image.

    Attributes
    ----------
    b_value
        s/mm2.
    direction
        Unit vector of the gradient in patient coordinates (L, P, S); None without a direction.
    """

    b_value: float
    direction: tuple[float, float, float] | None


def read_weightings(elements: Iterable[ET.Element]) -> list[Diffusion]:
    """Return the weightings in their order; none if one of them is not valid."""
    found = [_weighting(element) for element in elements]
    valid = [weighting for weighting in found if weighting is not None]
    return valid if len(valid) == len(found) else []


def _weighting(element: ET.Element) -> Diffusion | None:
    """Read a weighting, None if it is not valid; `rl`, `ap` and `fh` are those of a unit vector."""
    paths = ("bvalue", *(f"gradientDirection/{axis}" for axis in ("rl", "ap", "fh")))
    try:
        b_value, *axes = (float(element.findtext(path) or "") for path in paths)
    except ValueError:
        return None
    length = math.hypot(*axes)
    if not (math.isfinite(length) and 0 <= b_value <= MAX_B_VALUE):
        return None
    if not b_value or not length:
        return Diffusion(b_value, None)
    if not math.isclose(length, 1, abs_tol=MAX_LENGTH_ERROR):
        return None
    return Diffusion(b_value, (axes[0] / length, axes[1] / length, axes[2] / length))
