"""What all connections of a process hold of their scans, and its limit."""

import os
from threading import Lock


def half_of_the_machine() -> int:
    """Return half of the physical memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


class Memory:
    """Bytes in use; safe to use from any thread.

    Parameters
    ----------
    limit
        Beyond it nothing is taken; half of the physical memory without one.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit or half_of_the_machine()
        self.n_bytes = 0
        self._lock = Lock()

    def take(self, n_bytes: int) -> bool:
        """Take memory if there is some."""
        with self._lock:
            if self.n_bytes + n_bytes > self.limit:
                return False
            self.n_bytes += n_bytes
            return True

    def add(self, n_bytes: int) -> None:
        """Take what is in use already, or give back (negative)."""
        with self._lock:
            self.n_bytes += n_bytes

    def __str__(self) -> str:
        return f"{self.n_bytes} of {self.limit} bytes are in use"
