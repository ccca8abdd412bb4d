"""Finds out from the lines alone when all lines of an image have come.

All contrasts, phases and sets of one slice in one repetition are reconstructed together: they are a
unit. By the rule, it is complete

slice        when all its contrasts, phases and sets have had LAST_IN_SLICE in the last average, and
repetition   when a later repetition of the slice begins, or on a LAST_IN_REPETITION line, and
measurement  at the end of the scan.

Each rule includes those below it. `bucket` is for chains whose buckets are complete by
themselves: `repetition`, and at the end of each bucket all units that had lines in it.

A line that comes after its unit was complete is not used; waiting for a line that never comes only
costs time. Therefore

- no unit is complete while the encoding limits announce averages, contrasts, phases or sets of
  which it has no line: they may lie outside the repetitions, or in another bucket;
- flags count where the header has these limits. Converters that leave them out set the flags by
  line number, not by time (Bruker's: at the largest ky, which may come first);
- LAST_IN_SLICE does not count in a 3-D encoding: some set it at the end of every partition (GE's);
- a flag does not count while another image lacks lines: some scans set it on the last line of every
  echo or slice, and these are measured in turn. An image that has not had the flag itself must be
  as complete as the one that has it (`Coverage.share`);
- a flag, or the end of a bucket, does not count while the lines of an image cannot be all of them
  (`Coverage.reaches_edges`). From then on this encoding space waits for every line of the encoded
  matrix (`Coverage.is_whole`), the next repetition or the end of the scan.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.lines.acquired import ENCODE_STEPS, LAST_IN_REPETITION, LAST_IN_SLICE, flag_bits

from .coverage import Coverage

RULES = ("slice", "repetition", "measurement", "bucket")
INNER = ("contrast", "phase", "set")
REPEATED = ("average", *INNER)
STEPS = (*ENCODE_STEPS, "segment")

_LAST_IN_SLICE, _LAST_IN_REPETITION = flag_bits(LAST_IN_SLICE), flag_bits(LAST_IN_REPETITION)


class Unit(NamedTuple):
    """All images of one slice in one repetition."""

    encoding: int
    slice: int
    repetition: int


class Trigger:
    """Follows the image lines of a scan; its methods return the units that are complete by them.

    Parameters
    ----------
    rule
        One of `RULES`.
    encodings
        Encoding spaces of the scan header.
    """

    def __init__(self, rule: str, encodings: tuple[Encoding, ...]) -> None:
        self.rule = rule
        self._encodings = encodings
        self._done: set[Unit] = set()
        # Units that are not complete: which images of them have had a flag, by the flag.
        self._open: dict[Unit, dict[int, set[tuple[int, ...]]]] = defaultdict(
            lambda: defaultdict(set)
        )
        # What has come of every unit: its lines by their repeated counters.
        self._begun: dict[Unit, dict[tuple[int, ...], Coverage]] = defaultdict(dict)
        self._in_bucket: set[Unit] = set()
        # Encoding spaces in which a flag came too early.
        self._mistrusted: set[int] = set()

    def is_late(self, head: np.void) -> bool:
        """Return whether the unit of this line was complete before."""
        return unit_of(head) in self._done

    def line(self, head: np.void) -> list[Unit]:
        """Add one line that is not late; return the units that are complete with it."""
        unit, image = unit_of(head), _counters(head, REPEATED)
        had_flag = self._open[unit]
        self._count(unit, head)
        self._in_bucket.add(unit)
        if self.rule == "measurement":
            return []
        complete = [u for u in self._open if u[:2] == unit[:2] and u.repetition < unit.repetition]
        for flag in self._flags(head):
            had_flag[flag].add(image)
            share = self._begun[unit][image].share
            flagged = [u for u in self._flagged(flag, unit) if self._has_ended(u, flag, share)]
            complete += self._believed(flagged)
        return self._close(filter(self._has_begun, complete))

    def calibration_line(self, head: np.void) -> None:
        """Add one line that only calibrates and that lies on the grid of the images."""
        if not self.is_late(head):
            self._count(unit_of(head), head)

    def _count(self, unit: Unit, head: np.void) -> None:
        images, counters = self._begun[unit], _counters(head, REPEATED)
        if counters not in images:
            images[counters] = Coverage(self._encodings[unit.encoding])
        images[counters].add(*_counters(head, STEPS))

    def _flags(self, head: np.void) -> Iterator[int]:
        """Yield the flags of a line that count by the rule and the header."""
        encoding, flags = self._encodings[int(head["encoding_space_ref"])], int(head["flags"])
        if not set(REPEATED) <= encoding.counter_maxima.keys():
            return
        if flags & _LAST_IN_SLICE and self.rule == "slice" and not encoding.is_3d:
            yield _LAST_IN_SLICE
        if flags & _LAST_IN_REPETITION:
            yield _LAST_IN_REPETITION

    def _flagged(self, flag: int, unit: Unit) -> list[Unit]:
        """Return the units that a flag of a line of `unit` may end."""
        if flag == _LAST_IN_REPETITION:
            return [u for u in self._open if u.repetition == unit.repetition]
        last = self._encodings[unit.encoding].counter_maxima["average"]
        ended = {tuple(inner) for average, *inner in self._open[unit][flag] if average >= last}
        return [unit] if len(ended) >= self._n_announced(unit, INNER) else []

    def _has_ended(self, unit: Unit, flag: int, share: float) -> bool:
        """Return whether no image of a unit lacks lines that the image with this share has."""
        return all(
            counters in self._open[unit][flag] or image.share >= share
            for counters, image in self._begun[unit].items()
        )

    def _believed(self, units: Iterable[Unit]) -> list[Unit]:
        """Return the flagged units whose lines may be all; note the encodings of the others."""
        believed = []
        for unit in units:
            images = self._begun[unit].values()
            if unit.encoding in self._mistrusted:
                is_complete = all(image.is_whole for image in images)
            elif not (is_complete := all(image.reaches_edges for image in images)):
                self._mistrusted.add(unit.encoding)
            if is_complete:
                believed.append(unit)
        return believed

    def _n_announced(self, unit: Unit, names: tuple[str, ...]) -> int:
        maxima = self._encodings[unit.encoding].counter_maxima
        return math.prod(maxima.get(name, 0) + 1 for name in names)

    def _has_begun(self, unit: Unit) -> bool:
        """Return whether a unit has a line of everything that the limits announce."""
        return len(self._begun[unit]) >= self._n_announced(unit, REPEATED)

    def bucket(self) -> list[Unit]:
        """Return the units that are complete at the end of a bucket."""
        complete = self._in_bucket if self.rule == "bucket" else ()
        self._in_bucket = set()
        return self._close(filter(self._has_begun, self._believed(complete)))

    def end(self) -> list[Unit]:
        """Return the units that are complete at the end of the scan: all that are left."""
        return self._close(list(self._open))

    def _close(self, units: Iterable[Unit]) -> list[Unit]:
        closed = sorted(set(units) & set(self._open), key=lambda u: (u.repetition, u.slice))
        for unit in closed:
            del self._open[unit], self._begun[unit]
        self._done.update(closed)
        return closed


def _counters(head: np.void, names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(int(head["idx"][name]) for name in names)


def unit_of(head: np.void) -> Unit:
    """Return the unit of a line."""
    idx = head["idx"]
    return Unit(int(head["encoding_space_ref"]), int(idx["slice"]), int(idx["repetition"]))
