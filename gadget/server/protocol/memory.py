"""The memory that all connections of a process may use for their scans."""

import os
from threading import Lock


class MemoryBudget:
    """Counts bytes in use; safe to use from any thread.

    Parameters
    ----------
    limit
        Bytes in use at most; half of the physical memory by default.

    Attributes
    ----------
    n_bytes
        Bytes in use.
    """

    def __init__(self, limit: int | None = None) -> None:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self.limit = limit or physical // 2
        self.n_bytes = 0
        self._lock = Lock()

    def take(self, n_bytes: int) -> bool:
        """Count bytes that are about to be allocated; False if that would exceed the limit."""
        with self._lock:
            if self.n_bytes + n_bytes > self.limit:
                return False
            self.n_bytes += n_bytes
            return True

    def add(self, n_bytes: int) -> None:
        """Count bytes that are allocated already, or that were freed (negative)."""
        with self._lock:
            self.n_bytes += n_bytes

    def __str__(self) -> str:
        return f"{self.n_bytes} of {self.limit} bytes are in use"
