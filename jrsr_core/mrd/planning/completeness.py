"""Images whose measurement broke off, found by comparison with the other images of the scan.

The places of k-space that an image measured, in their order in time, are its pattern. An image was
broken off if its pattern is the beginning of that of another one and covers less of k-space (lines
that calibrate do not count here: one contrast, set or repetition may measure them for all), or, in
an order that changes, if it is of the last repetition and covers less than `MIN_SHARE` of what the
others cover. It is the last thing that was measured: a complete image after one of a pattern means
that all images of the pattern were meant to be so (keyhole, frames with an ACS of their own). An
image without a line near k = 0 shows edges only, whatever the others are.
"""

from collections import Counter
from collections.abc import Container
from typing import NamedTuple

import numpy as np

from jrsr_core.data import Counters
from jrsr_core.mrd.lines.acquired import ENCODE_STEPS, calibrates
from jrsr_core.mrd.lines.grid import line_offsets
from jrsr_core.mrd.lines.readout import LineLayout

MIN_SHARE = 0.6
"""Of what the middle image covers. Patterns that change, as random ones, may differ in size; by so
much they do not."""

MIN_SIBLINGS = 3
"""Images above which the middle one says what an image covers."""

NEAR_CENTER = 2
"""Lines that the line nearest k = 0 may be away from it, or the acceleration if that is larger."""


class Pattern(NamedTuple):
    """Places of an image in the order of time, and which lines are calibration lines, as bytes."""

    places: bytes
    calibrates: bytes


Patterns = dict[Counters, Pattern]
"""Patterns of every image; equal ones are one object."""


def incomplete_images(
    heads: np.ndarray,
    groups: dict[Counters, np.ndarray],
    layouts: tuple[LineLayout, ...],
    earlier: Patterns | None = None,
) -> dict[Counters, str]:
    """Return why images are incomplete; nothing for complete ones.

    Parameters
    ----------
    earlier
        Patterns of images whose lines are gone (a running scan); those of `groups` are added.
    """
    patterns: Patterns = {} if earlier is None else earlier
    known = {pattern: pattern for pattern in patterns.values()}
    for counters, lines in groups.items():
        pattern = _pattern(heads[lines])
        patterns[counters] = known.setdefault(pattern, pattern)
    reasons = _without_center(heads, groups, layouts)
    for space in {counters.encoding for counters in groups}:
        own = {c: pattern for c, pattern in patterns.items() if c.encoding == space}
        for counters, reason in _broken_off(own, groups).items():
            reasons.setdefault(counters, reason)
    return reasons


def _pattern(heads: np.ndarray) -> Pattern:
    steps = [heads["idx"][name] for name in ENCODE_STEPS]
    places = np.stack(steps, axis=-1).astype("<u2").tobytes()
    return Pattern(places, calibrates(heads).tobytes())


def _n_places(pattern: Pattern) -> int:
    return len(np.unique(np.frombuffer(pattern.places, "<u4")))


def _broken_off(patterns: Patterns, groups: dict[Counters, np.ndarray]) -> dict[Counters, str]:
    """Return the images of one encoding space that were broken off, with the reason."""
    counts = Counter(patterns.values())
    if len(counts) < 2:
        return {}
    sizes = {pattern: _n_places(pattern) for pattern in counts}
    whole = {p: w for p in counts if (w := _begun(p, sizes))}
    typical = float(np.median([sizes[p] for p in patterns.values()]))
    last = max(c.repetition for c in patterns)
    if len(patterns) > MIN_SIBLINGS:
        for c, pattern in patterns.items():
            if c.repetition == last > 0 and sizes[pattern] < MIN_SHARE * typical:
                whole.setdefault(pattern, int(typical))
    meant = _followed(patterns, whole, groups)
    found = {c for c in groups if c in patterns and patterns[c] in whole.keys() - meant}
    n_complete = sum(n for pattern, n in counts.items() if pattern not in whole or pattern in meant)
    if len(found) > n_complete:
        return {}
    return {
        c: f"{sizes[patterns[c]]} of {whole[patterns[c]]} lines were measured: "
        "the scan broke off in this image"
        for c in found
    }


def _followed(
    patterns: Patterns, partial: Container[Pattern], groups: dict[Counters, np.ndarray]
) -> set[Pattern]:
    """Return the patterns of images after which one began whose pattern is not among `partial`.

    Images whose lines are gone were measured before the others, in the order of `patterns`.
    """
    spans = {c: (n - len(patterns),) * 2 for n, c in enumerate(patterns)}
    spans |= {c: (int(groups[c][0]), int(groups[c][-1])) for c in patterns if c in groups}
    complete = [spans[c][0] for c, pattern in patterns.items() if pattern not in partial]
    last = max(complete, default=-len(patterns))
    return {pattern for c, pattern in patterns.items() if spans[c][1] < last}


def _begun(pattern: Pattern, sizes: dict[Pattern, int]) -> int:
    """Return the places of the largest image that begins like this one; 0 if none is larger."""
    longer = (n for o, n in sizes.items() if n > sizes[pattern] and _continues(o, pattern))
    return max(longer, default=0)


def _continues(longer: Pattern, pattern: Pattern) -> bool:
    """Whether a pattern begins like another one and goes on with more than calibration lines."""
    if not longer.places.startswith(pattern.places):
        return False
    return not all(longer.calibrates[len(pattern.calibrates) :])


def _without_center(
    heads: np.ndarray, groups: dict[Counters, np.ndarray], layouts: tuple[LineLayout, ...]
) -> dict[Counters, str]:
    """Return the images that have no line near k = 0, with the reason."""
    reasons = {}
    for counters, lines in groups.items():
        encoding = layouts[counters.encoding].encoding
        y, z = (np.abs(offset) for offset in line_offsets(heads[lines], encoding.grid))
        if not encoding.is_3d:
            z = np.zeros_like(y)
        reach_y, reach_z = (max(NEAR_CENTER, factor) for factor in encoding.acceleration)
        if not ((y <= reach_y) & (z <= reach_z)).any():
            nearest = int((y + z).argmin())
            away = f"{y[nearest]} lines away"
            if encoding.is_3d:
                n = len(np.unique(heads["idx"]["kspace_encode_step_2"][lines]))
                away = (
                    f"{y[nearest]} lines and {z[nearest]} partitions away, "
                    f"{n} of {encoding.grid.nz} partitions were measured"
                )
            reasons[counters] = f"no line near the centre of k-space: the nearest is {away}"
    return reasons
