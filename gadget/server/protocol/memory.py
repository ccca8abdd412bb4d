"""The memory that all connections of a process may use for their scans."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from jrsr_core.common.cancellation import wait_until
from jrsr_core.common.machine import physical_memory


class MemoryBudget:
    """Counts the bytes of lines and of images that are computed; safe to use from any thread.

    Lines leave room for the largest image that any scan expects. One image may therefore always
    be computed, after which its lines are dropped, and scans never wait for each other in a circle.

    Parameters
    ----------
    limit
        Bytes in use at most; half of the physical memory by default.

    Attributes
    ----------
    n_bytes
        Bytes of lines and other messages.
    n_image_bytes
        Bytes of the images that are being computed.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit or physical_memory() // 2
        self.n_bytes = self.n_image_bytes = 0
        self._expected: list[int] = []
        self._changed = Condition()

    def take(self, n_bytes: int) -> bool:
        """Count bytes that are about to be allocated; False if that would exceed the limit."""
        with self._changed:
            if self.n_bytes + n_bytes + self._image_room > self.limit:
                return False
            self.n_bytes += n_bytes
            return True

    @property
    def _image_room(self) -> int:
        return max(self.n_image_bytes, max(self._expected, default=0))

    def add(self, n_bytes: int) -> None:
        """Count bytes that are allocated already, or that were freed (negative)."""
        with self._changed:
            self.n_bytes += n_bytes
            self._changed.notify_all()

    def expect(self, n_bytes: int) -> None:
        """Keep room for an image of this size, until `forget` is called with the same size."""
        with self._changed:
            self._expected.append(n_bytes)

    def forget(self, n_bytes: int) -> None:
        """End what `expect` began."""
        with self._changed:
            self._expected.remove(n_bytes)
            self._changed.notify_all()

    @contextmanager
    def image(self, n_bytes: int) -> Iterator[None]:
        """Count an image while it is computed, after waiting for memory that other images use.

        Raises
        ------
        Exception
            What the watch of this thread raises (`jrsr_core.common.cancellation.watched`).
        """
        with self._changed:
            wait_until(self._changed, lambda: self._has_room(n_bytes))
            self.n_image_bytes += n_bytes
        try:
            yield
        finally:
            with self._changed:
                self.n_image_bytes -= n_bytes
                self._changed.notify_all()

    def _has_room(self, n_bytes: int) -> bool:
        if not self.n_image_bytes:
            return True
        return self.n_bytes + self.n_image_bytes + n_bytes <= self.limit

    def __str__(self) -> str:
        return f"{self.n_bytes + self._image_room} of {self.limit} bytes are in use"
