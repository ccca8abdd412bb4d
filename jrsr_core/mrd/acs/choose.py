"""Which lines calibrate the coils of a slice.

All images of a slice that have the same axes share one ACS, hence one set of coil maps. A reference
scan that contains the slice comes first. Without one, the ACS comes from the first repetitions that
can give one: a scan that is still going on cannot wait for the others.
"""

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np

from jrsr_core.data import Counters
from jrsr_core.mrd.lines.acquired import calibrates
from jrsr_core.mrd.lines.grid import line_counts, sampling_pattern
from jrsr_core.mrd.lines.readout import LineLayout

from .axes import AcsKey
from .lines import MIN_LINES, CalibrationLines, acs_size
from .place import Misplaced
from .reference import ReferenceScan

MAX_REPETITIONS = 16
"""Repetitions that are waited for until their average gives an ACS."""

Frames = dict[Counters, np.ndarray]


def choose_calibration_lines(
    heads: np.ndarray,
    groups: dict[Counters, np.ndarray],
    keys: dict[Counters, AcsKey],
    reference: np.ndarray,
    layouts: tuple[LineLayout, ...],
) -> tuple[dict[AcsKey, CalibrationLines], dict[str, int]]:
    """Choose the calibration lines of every slice.

    Parameters
    ----------
    heads
        Headers of all lines.
    groups
        Indices of the lines of every image.
    keys
        Key of the ACS of every image.
    reference
        Indices of the lines of separate scans.
    layouts
        All encoding spaces of the header.

    Returns
    -------
    chosen, rejected
        Lines by the key of the ACS, and the number of reference lines that cannot serve, by
        reason.
    """
    slices: dict[AcsKey, Frames] = defaultdict(dict)
    for counters, lines in groups.items():
        slices[keys[counters]][counters] = lines
    first_line = {key: next(iter(frames.values()))[0] for key, frames in slices.items()}
    chosen: dict[AcsKey, CalibrationLines] = {}
    rejected: dict[str, int] = {}
    of_space: dict[int, list[int]] = defaultdict(list)
    for key, line in first_line.items():
        of_space[key.encoding].append(line)
    images = {space: np.array(lines) for space, lines in of_space.items()}
    scans = {s: ReferenceScan(heads, _nearest(heads, reference, s), layouts) for s in images}
    sizes = _AcsSizes(heads)
    for key in sorted(slices):
        space = key.encoding
        others, scan = images[space], scans[space]
        found, reason = None, ""
        try:
            found = scan.lines_for(first_line[key], others)
        except Misplaced as error:
            reason = str(error)
            rejected[reason] = len(reference)
        if found is None:
            own = _of_frames(sizes, layouts[space], slices[key])
            found = replace(own, unused_reference=reason)
        chosen[key] = found
    return chosen, rejected


def _nearest(heads: np.ndarray, reference: np.ndarray, space: int) -> np.ndarray:
    """Return the reference lines of the same encoding space where it has some, else all."""
    same = heads["encoding_space_ref"][reference] == space
    return reference[same] if same.any() else reference


class _AcsSizes:
    """Sizes of the ACS that lines give; images of one sampling are looked at once."""

    def __init__(self, heads: np.ndarray) -> None:
        self.heads = heads
        self._known: dict[tuple[LineLayout, bytes], tuple[int, int]] = {}

    def of(self, lines: np.ndarray, layout: LineLayout) -> tuple[int, int]:
        """Return the size for lines of an encoding space."""
        heads = self.heads[lines]
        key = (layout, sampling_pattern(heads))
        if key not in self._known:
            self._known[key] = acs_size(line_counts(heads, layout))
        return self._known[key]


def _of_frames(sizes: _AcsSizes, layout: LineLayout, frames: Frames) -> CalibrationLines:
    """Return the lines of the first repetitions that give an ACS, or of all that are known."""
    repetitions = sorted({c.repetition for c in frames})[:MAX_REPETITIONS]
    for last in repetitions:
        known = {c: lines for c, lines in frames.items() if c.repetition <= last}
        chosen, size = _of_known_frames(sizes, layout, known)
        if min(size) >= MIN_LINES:
            break
    return chosen


def _of_known_frames(
    acs_sizes: _AcsSizes, layout: LineLayout, frames: Frames
) -> tuple[CalibrationLines, tuple[int, int]]:
    """Return the best frame, or the average of the frames where each is undersampled."""
    sizes = {c: acs_sizes.of(lines, layout) for c, lines in frames.items()}
    best = max(sizes, key=lambda c: math.prod(sizes[c]))
    if layout.encoding.calibration_mode == "interleaved" or min(sizes[best]) < MIN_LINES:
        merged = _merged(acs_sizes.heads, frames, best)
        size = acs_sizes.of(merged, layout)
        if math.prod(size) > math.prod(sizes[best]):
            return CalibrationLines.of_images("frames", merged, layout), size
    return CalibrationLines.of_images("shared", frames[best], layout), sizes[best]


def _merged(heads: np.ndarray, frames: Frames, like: Counters) -> np.ndarray:
    """Return the calibration lines of all repetitions and phases of one contrast and set.

    Where none is flagged as calibration line, all are returned.
    """
    same = [
        lines for c, lines in frames.items() if (c.contrast, c.set) == (like.contrast, like.set)
    ]
    lines = np.sort(np.concatenate(same))
    flagged = calibrates(heads[lines])
    return lines[flagged] if flagged.any() else lines
