"""Numbers of images within their series, the same whatever the order they are made in."""

import math

from ..geometry import Counters, Encoding
from .plan import NESTING


class Numbering:
    """Counters -> image number from 1, slices fastest, then contrast, phase, set, repetition.

    The encoding limits tell how many there are of each, as in Gadgetron. An image beyond them, or
    a scan without limits, has its images counted on as they come.
    """

    def __init__(self, encodings: tuple[Encoding, ...]) -> None:
        self._extents = [
            tuple(e.counter_maxima.get(name, 0) + 1 for name in NESTING) for e in encodings
        ]
        self._n_beyond = 0

    def __call__(self, counters: Counters) -> int:
        """Return the number of an image."""
        extents = self._extents[0]
        values = tuple(getattr(counters, name) for name in NESTING)
        if any(v >= n for v, n in zip(values, extents, strict=True)):
            self._n_beyond += 1
            return math.prod(extents) + self._n_beyond
        number = 0
        for value, n in zip(values, extents, strict=True):
            number = number * n + value
        return number + 1
