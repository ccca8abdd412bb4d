"""Series and numbers of images, found from their counters."""

import math

from jrsr_core.data import Counters
from jrsr_core.mrd.header.encoding import Encoding

from .acquired import NESTING


class Numbering:
    """Numbers the images of a scan, whatever the order in which they are made.

    Every encoding space is a series: its images share their matrix. Within it numbers run from 1,
    slices fastest, then contrast, phase, set, repetition; the encoding limits give the number of
    each, as in Gadgetron. Images beyond the limits, as in a header without limits, get the next
    number in the order in which they come, which in a live scan is that of their measurement.
    """

    def __init__(self, encodings: tuple[Encoding, ...]) -> None:
        self._extents = [
            tuple(e.counter_maxima.get(name, 0) + 1 for name in NESTING) for e in encodings
        ]
        self._n_beyond = [0] * len(encodings)

    def series(self, counters: Counters) -> int:
        """Return the series of an image: the place of its encoding space in the header, from 0."""
        return counters.encoding

    def number(self, counters: Counters) -> int:
        """Return the number of an image within its series."""
        extents = self._extents[counters.encoding]
        values = tuple(getattr(counters, name) for name in NESTING)
        if any(v >= n for v, n in zip(values, extents, strict=True)):
            self._n_beyond[counters.encoding] += 1
            return math.prod(extents) + self._n_beyond[counters.encoding]
        number = 0
        for value, n in zip(values, extents, strict=True):
            number = number * n + value
        return number + 1
