"""Lines outside the encoded matrix, which have no part in an image."""

import numpy as np

from jrsr_core.common.spelling import counted
from jrsr_core.data import Counters
from jrsr_core.mrd.lines.grid import grid_size_text, line_places
from jrsr_core.mrd.lines.readout import LineLayout


def lines_outside(
    heads: np.ndarray, groups: dict[Counters, np.ndarray], layouts: tuple[LineLayout, ...]
) -> tuple[dict[str, int], dict[int, str]]:
    """Return the number of lines outside the matrix by reason, and a note by encoding space."""
    n_outside, notes = 0, {}
    for space in sorted({counters.encoding for counters in groups}):
        grid = layouts[space].encoding.grid
        images = [lines for counters, lines in groups.items() if counters.encoding == space]
        is_outside = line_places(heads[np.concatenate(images)], grid) < 0
        if not is_outside.any():
            continue
        ends = np.cumsum([len(lines) for lines in images])[:-1]
        counts = [int(part.sum()) for part in np.split(is_outside, ends)]
        up_to = "up to " if len(set(counts)) > 1 else ""
        notes[space] = (
            f"lines outside the encoded matrix of {grid_size_text(grid)} are left out: "
            f"{up_to}{counted(max(counts), 'line')} per image"
        )
        n_outside += sum(counts)
    return ({"outside the encoded matrix": n_outside} if n_outside else {}), notes
