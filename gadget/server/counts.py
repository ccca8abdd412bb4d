"""Counts what a server has done."""

import threading
import time
from collections.abc import Sequence

from gadget.errors import Exit
from jrsr_core.common.version import software_version

from .health import HealthReport, ScanState
from .session import Outcome


class Health:
    """Counts what a server has done; safe to use from any thread."""

    def __init__(self) -> None:
        self.n_open = self.n_done = self.n_failed = self.n_images = self.n_fallback = 0
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def opened(self) -> int:
        """Count a new connection; return how many are open."""
        with self._lock:
            self.n_open += 1
            return self.n_open

    def closed(self, outcome: Outcome | None) -> None:
        """Count the end of a connection, and its scan if there was one."""
        with self._lock:
            self.n_open -= 1
            if outcome is not None:
                is_done = outcome.code in (Exit.DONE, Exit.FALLBACK)
                self.n_done += is_done
                self.n_failed += not is_done
                self.n_images += outcome.n_images
                self.n_fallback += outcome.n_fallback

    def report(
        self, n_queries: int, n_waiting: int, scans: list[ScanState], notes: Sequence[str]
    ) -> HealthReport:
        """Return all counts.

        Parameters
        ----------
        n_queries
            Open connections that ask for the health alone, which are not counted.
        n_waiting
            Slices in the queue.
        scans
            Scans that are going on.
        notes
            What an operator should know.
        """
        with self._lock:
            return HealthReport(
                software="jrsr",
                version=software_version(),
                up_seconds=round(time.monotonic() - self._started, 1),
                connections=max(self.n_open - n_queries, 0),
                slices_waiting=n_waiting,
                scans_done=self.n_done,
                scans_failed=self.n_failed,
                images=self.n_images,
                fallback_images=self.n_fallback,
                scans=scans,
                notes=list(notes),
            )
