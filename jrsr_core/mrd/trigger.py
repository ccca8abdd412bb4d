"""When all lines of an image are in, told from the lines alone.

A unit is what is reconstructed together: all contrasts, phases and sets of one slice in one
repetition. It is complete

slice        when every image of it has had its LAST_IN_SLICE line in the last average, where the
             encoding limits tell how many there are, and
repetition   when a later repetition of the slice begins, or on a LAST_IN_REPETITION line, and
measurement  at the end of the scan.

Each rule includes those below it. `bucket` is for chains whose buckets are complete by
themselves: `repetition`, and at the end of each bucket all units that had lines in it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..geometry import Encoding
from .lines import LAST_IN_REPETITION, LAST_IN_SLICE, flag_bits

RULES = ("slice", "repetition", "measurement", "bucket")
INNER = ("contrast", "phase", "set")

_LAST_IN_SLICE, _LAST_IN_REPETITION = flag_bits(LAST_IN_SLICE), flag_bits(LAST_IN_REPETITION)


class Unit(NamedTuple):
    """All images of one slice in one repetition."""

    encoding: int
    slice: int
    repetition: int


class Trigger:
    """Follows the image lines of a scan and tells which units they complete."""

    def __init__(self, rule: str, encodings: tuple[Encoding, ...]) -> None:
        self.rule = rule
        self._maxima = [encoding.counter_maxima for encoding in encodings]
        self._done: set[Unit] = set()
        self._open: dict[Unit, set[tuple[int, ...]]] = defaultdict(set)
        self._in_bucket: set[Unit] = set()

    def is_late(self, head: np.void) -> bool:
        """Whether the unit of this line was complete before."""
        return unit_of(head) in self._done

    def line(self, head: np.void) -> list[Unit]:
        """Take one line that is not late; return the units that are complete with it."""
        flags, unit = int(head["flags"]), unit_of(head)
        finished = self._open[unit]
        self._in_bucket.add(unit)
        if self.rule == "measurement":
            return []
        complete = self._earlier(unit)
        if self.rule == "slice" and flags & _LAST_IN_SLICE and self._ends_image(head):
            finished.add(tuple(int(head["idx"][name]) for name in INNER))
            if len(finished) >= self._n_images(unit):
                complete.append(unit)
        if flags & _LAST_IN_REPETITION:
            complete += [u for u in self._open if u.repetition == unit.repetition]
        return self._close(complete)

    def _ends_image(self, head: np.void) -> bool:
        """Whether LAST_IN_SLICE is meant for the last average; unknown without limits."""
        maxima = self._maxima[int(head["encoding_space_ref"])]
        known = {"average", *INNER} <= maxima.keys()
        return known and int(head["idx"]["average"]) >= maxima["average"]

    def _n_images(self, unit: Unit) -> int:
        return math.prod(self._maxima[unit.encoding][name] + 1 for name in INNER)

    def _earlier(self, unit: Unit) -> list[Unit]:
        return [u for u in self._open if u[:2] == unit[:2] and u.repetition < unit.repetition]

    def bucket(self) -> list[Unit]:
        """Take the end of a bucket."""
        complete = self._in_bucket if self.rule == "bucket" else ()
        self._in_bucket = set()
        return self._close(complete)

    def end(self) -> list[Unit]:
        """Take the end of the scan."""
        return self._close(list(self._open))

    def _close(self, units: Iterable[Unit]) -> list[Unit]:
        closed = sorted(set(units) & set(self._open), key=lambda u: (u.repetition, u.slice))
        for unit in closed:
            del self._open[unit]
        self._done.update(closed)
        return closed


def unit_of(head: np.void) -> Unit:
    """Return the unit of a line."""
    idx = head["idx"]
    return Unit(int(head["encoding_space_ref"]), int(idx["slice"]), int(idx["repetition"]))
