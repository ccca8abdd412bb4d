"""The scan of an array of which the user states what the file does not say."""

from collections.abc import Sequence

import ismrmrd.xsd as xsd
import numpy as np

from .arrays import array_encoding, array_lines, array_notes, ordered, stated_geometry
from .header import conditions_element, encoding_element, header_text, system_element
from .memory import check_memory
from .scan import ImportedScan, Stated

STATEMENTS = {"axes", "fov", "oversampling", "orientation", "position", "spacing", "field"}
"""Options that describe an array."""

REQUIRED = ("axes", "fov", "oversampling")
"""Options without which an array cannot be placed in k-space."""


def array_scan(array: np.ndarray, axes: Sequence[str], stated: Stated) -> ImportedScan:
    """Return the scan of an array; raises `UsageError` as `ordered` and `array_lines`."""
    check_memory(array.size * np.dtype(np.complex64).itemsize)
    view = ordered(array, axes)
    geometry, notes = stated_geometry(stated, view.shape[5])
    lines = array_lines(view, geometry)
    notes += array_notes(view, lines)
    document = xsd.ismrmrdHeader(
        acquisitionSystemInformation=system_element(view.shape[-2], stated.field),
        experimentalConditions=conditions_element(stated.field),
        encoding=[encoding_element(array_encoding(view, lines, geometry), lines.heads)],
    )
    return ImportedScan(header_text(document), lines, tuple(notes))
