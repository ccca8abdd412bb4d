"""Images whose lines come from several measurements, as in a file to which a scan was appended."""

import numpy as np

from jrsr_core.data import Counters


def mixed_measurements(heads: np.ndarray, groups: dict[Counters, np.ndarray]) -> dict[int, str]:
    """Return a note by encoding space that has such an image.

    Whether the measurements contradict each other is found from their samples (`averages`).
    """
    uids = heads["measurement_uid"]
    if (uids == uids[0]).all():
        return {}
    notes: dict[int, str] = {}
    for counters, lines in groups.items():
        own = np.unique(uids[lines])
        if len(own) > 1 and counters.encoding not in notes:
            notes[counters.encoding] = (
                f"lines of one image are of {len(own)} measurements (measurement_uid {own[0]} to "
                f"{own[-1]}): lines at one place count as averages"
            )
    return notes
