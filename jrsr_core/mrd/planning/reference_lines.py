"""Which calibration lines are those of a separate scan, so that they make no image.

The header says so by its calibrationMode. Where it does not, the lines themselves do: embedded
calibration lines fill the gaps between image lines, a separate scan measures the places of image
lines as well, with another contrast or another readout.
"""

from typing import NamedTuple

import numpy as np

from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.acquired import ENCODE_STEPS, NESTING, only_calibrates
from jrsr_core.mrd.lines.distinct import distinct_rows

UNSTATED = ("none", "other")
"""Calibration modes that leave open what calibration lines are; `none` stands for no mode."""

MIN_SHARE = 0.5
"""Image lines among the calibration lines whose places a separate scan measures as well."""


class Repeated(NamedTuple):
    """Places of image lines that calibration lines measured as well.

    `n_places` is their number, `share` that of the image lines within the calibrated block.
    """

    n_places: int
    share: float


def find_reference(header: ScanHeader, heads: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """Find the lines that only calibrate the images.

    Returns
    -------
    is_reference
        Boolean per line.
    notes
        One sentence by encoding space where the header does not say what its calibration lines are.
    """
    only, notes = only_calibrates(heads), {}
    only = np.zeros_like(only) if only.all() else only
    space = heads["encoding_space_ref"]
    for number in np.unique(space[~only]).tolist():
        encoding = header.encodings[number]
        members = np.flatnonzero(space == number)
        if encoding.has_reference_scan or not only[members].any():
            continue
        repeated = _repeated(heads[members], only[members])
        is_separate = encoding.calibration_mode in UNSTATED and repeated.share > MIN_SHARE
        n_lines = int(only[members].sum())
        if not is_separate:
            only[members] = False
        if repeated.n_places:
            notes[number] = _note(encoding.calibration_mode, n_lines, repeated, is_separate)
    return only, notes


def _note(mode: str, n_lines: int, repeated: Repeated, is_separate: bool) -> str:
    stated = "missing" if mode == "none" else mode
    text = f"calibrationMode is {stated}, and {n_lines} lines are calibration lines only (flag 20)"
    if is_separate:
        return (
            f"{text} at places that image lines measured as well: they are taken as a separate "
            "reference scan"
        )
    return (
        f"{text}: at {repeated.n_places} places that image lines measured as well, both are "
        "averaged; a separate reference scan needs calibrationMode separate"
    )


def _repeated(heads: np.ndarray, only: np.ndarray) -> Repeated:
    """Compare the places of lines that only calibrate with those of the image lines."""
    image = distinct_rows([heads["idx"][name] for name in NESTING]).member
    columns = [image, *(heads["idx"][name] for name in ENCODE_STEPS)]
    table = np.stack(columns, axis=-1).astype(np.int64)
    block, others = (distinct_rows(list(table[part].T)).rows for part in (only, ~only))
    low, high = np.full((image.max() + 1, 2), 2**16), np.full((image.max() + 1, 2), -1)
    np.minimum.at(low, block[:, 0], block[:, 1:])
    np.maximum.at(high, block[:, 0], block[:, 1:])
    steps, number = others[:, 1:], others[:, 0]
    inside = others[((steps >= low[number]) & (steps <= high[number])).all(axis=1)]
    every = distinct_rows(list(np.concatenate([block, inside]).T)).rows
    n_twice = len(block) + len(inside) - len(every)
    return Repeated(n_twice, n_twice / max(len(inside), 1))
