"""What a server has done, on one line."""

import threading
import time
from collections.abc import Sequence

from .errors import Exit
from .session import Outcome


class Health:
    """Counters of a server; safe to use from any thread."""

    def __init__(self) -> None:
        self.n_open = self.n_scans = self.n_failed = self.n_images = self.n_fallback = 0
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def opened(self) -> int:
        """Count a connection; return how many are open with it."""
        with self._lock:
            self.n_open += 1
            return self.n_open

    def closed(self, outcome: Outcome | None) -> None:
        """Count the end of a connection, and its scan if it had one."""
        with self._lock:
            self.n_open -= 1
            if outcome is not None:
                self.n_scans += 1
                self.n_failed += outcome.code not in (Exit.DONE, Exit.FALLBACK)
                self.n_images += outcome.n_images
                self.n_fallback += outcome.n_fallback

    def line(self, n_waiting: int, notes: Sequence[str] = ()) -> str:
        """Return the health line; `notes` come last."""
        up = time.monotonic() - self._started
        counts = (
            f"up {up:.0f} s, {self.n_open} connections, {n_waiting} slices waiting, "
            f"{self.n_scans} scans done, {self.n_failed} failed, {self.n_images} images, "
            f"{self.n_fallback} of them fallback images"
        )
        return ", ".join((counts, *notes))
