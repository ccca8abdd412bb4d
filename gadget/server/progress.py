"""How far a scan has come: one line of the log per image, and the figures of the health."""

import logging
import math
import time
from collections.abc import Iterable

from gadget.compute.engine import Engine
from gadget.output.base import Result
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.lines.acquired import NESTING

from .health import ScanState

log = logging.getLogger("jrsr")


def expected_images(encodings: Iterable[Encoding]) -> int | None:
    """Return how many images the encoding limits announce; None without limits."""
    maxima = [e.counter_maxima for e in encodings]
    if not any(name in m for m in maxima for name in NESTING):
        return None
    return sum(math.prod(m.get(name, 0) + 1 for name in NESTING) for m in maxima)


class Progress:
    """Counts the images of one scan, and logs each.

    Attributes
    ----------
    n_images, n_fallback
        Images that were sent, and how many of them are fallback images.
    n_expected
        Images that the header announces; None before it is read, and without limits.
    model
        Name of the model; None until it is loaded.
    """

    def __init__(self) -> None:
        self.n_images = self.n_fallback = 0
        self.n_expected: int | None = None
        self.model: str | None = None
        self._started = time.monotonic()

    def begin(self, encodings: Iterable[Encoding], engine: Engine) -> None:
        """Note what the header announces and which model computes."""
        self.n_expected = expected_images(encodings)
        self.model = engine.model.name

    def add(self, result: Result, engine: Engine) -> None:
        """Count an image that was sent, and log it; maps are not counted."""
        if result.map_name:
            return
        self.n_images += 1
        report = result.image.report
        if result.is_fallback:
            self.n_fallback += 1
            level, note = logging.WARNING, f"fallback: {report.fallback}, "
        else:
            level, note = logging.INFO, ""
        seconds = report.seconds.get("total", 0.0)
        warnings = f"; warning: {'; '.join(report.warnings)}" if report.warnings else ""
        log.log(
            level,
            "image %s (%s): %s%.2f s, %d slices waiting%s",
            self._count(),
            result.name,
            note,
            seconds,
            engine.n_waiting,
            warnings,
        )

    def _count(self) -> str:
        """Return k of n; an image beyond those announced has no n."""
        if self.n_expected is None or self.n_images > self.n_expected:
            return str(self.n_images)
        return f"{self.n_images} of {self.n_expected}"

    def state(self, peer: str, idle_since: float | None) -> ScanState:
        """Return the figures of the scan; `idle_since` is when it began to wait for its peer."""
        now = time.monotonic()
        return ScanState(
            peer=peer,
            model=self.model,
            seconds=round(now - self._started, 1),
            images=self.n_images,
            expected=self.n_expected,
            fallback=self.n_fallback,
            idle_seconds=None if idle_since is None else round(now - idle_since, 1),
        )
