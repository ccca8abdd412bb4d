"""Messages of a peer, read by a thread of their own while images are computed.

The thread waits while more than `max_bytes` are unread, or the `Memory` that all connections share
is full, so that a peer that sends faster than we compute is held back by its socket. It is also the
first to see that the peer has gone.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition, Lock, Thread
from typing import Any

from gadgetron.external.connection import Connection

from jrsr_core.cancellation import Cancelled

from .messages import Text
from .wire import PeerGone, ProtocolError


# FOLDED gadget/protocol/memory.py: What all connections of a process hold of their scans, and its limit.
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


MAX_BYTES = 2**30
PATIENCE = 60.0
"""Seconds that a scan waits for memory which other scans hold."""

SILENCE = 2.0
"""Seconds without data after which a stream that is out of step counts as drained."""


class Inbox:
    """Reads a connection to its end.

    Parameters
    ----------
    waits
        Whether the peer keeps the connection open after its CLOSE until it has ours, as Gadgetron
        does; one that does not stay has gone.
    memory
        Shared with other connections.
    on_gone
        Called by the reading thread when the peer has gone.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        max_bytes: int = MAX_BYTES,
        waits: bool = False,
        memory: Memory | None = None,
        on_gone: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._max_bytes = max_bytes
        self._waits = waits
        self._is_answered = False
        self._on_gone = on_gone
        self._items: deque[Any] = deque()
        self._n_bytes = 0
        self._end: BaseException | None = None
        self._discards = False
        self._memory = memory or Memory()
        # Bytes claimed for the message that is coming, and those the scan has taken and kept.
        self._coming = self._held = 0
        self._changed = Condition()
        self._thread = Thread(target=self._read, name="inbox", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        self._connection.socket.claim = self._claim
        while True:
            try:
                self._claim(0)
                _, item = next(self._connection)
            except BaseException as end:
                self._finish(end)
                return
            with self._changed:
                while self._n_bytes > self._max_bytes and not self._discards:
                    self._changed.wait()
                if not self._discards:
                    self._items.append(item)
                    self._n_bytes += item.n_bytes
                    self._memory.add(item.n_bytes - self._coming)
                else:
                    self._memory.add(-self._coming)
                self._coming = 0
                self._changed.notify_all()

    def _claim(self, n_bytes: int) -> None:
        """Wait for memory; raise where waiting would not bring any."""
        limit = self._connection.socket.limits.scan
        starving = time.monotonic()
        with self._changed:
            while not self._discards:
                own = self._n_bytes + self._coming + self._held
                if own + n_bytes > limit:
                    text = f"{own + n_bytes} bytes of a scan without an image"
                    raise ProtocolError(f"{text}, at most {limit} are kept")
                if self._memory.take(n_bytes):
                    self._coming += n_bytes
                    return
                if self._items:
                    starving = time.monotonic()
                if time.monotonic() - starving > PATIENCE:
                    raise ProtocolError(f"no memory for the scan: {self._memory}")
                self._changed.wait(0.05)

    def holds(self, n_bytes: int) -> None:
        """Say how much of what was taken is kept in memory."""
        with self._changed:
            self._memory.add(n_bytes - self._held)
            self._held = n_bytes

    def release(self) -> None:
        """Give all memory back, and keep nothing that still comes."""
        with self._changed:
            self._memory.add(-(self._n_bytes + self._coming + self._held))
            self._n_bytes = self._coming = self._held = 0
            self._items.clear()
            self._discards = True
            self._changed.notify_all()

    def _finish(self, end: BaseException) -> None:
        with self._changed:
            self._end = end
            self._changed.notify_all()
        if isinstance(end, StopIteration) and self._waits:
            self._watch_the_end()
        if isinstance(self._end, PeerGone):
            self._on_gone()

    def _watch_the_end(self) -> None:
        """See whether the peer is there until it has our answer."""
        while not self._is_answered:
            try:
                self._connection.socket.socket.recv(1)
            except TimeoutError:
                continue
            except OSError:
                pass
            break
        with self._changed:
            if not self._is_answered:
                self._end = PeerGone("connection ended before the images were sent")
                self._changed.notify_all()

    def answered(self) -> None:
        """Say that the peer has all it waits for: it may go now."""
        with self._changed:
            self._is_answered = True

    def check(self) -> None:
        """Raise `Cancelled` when the peer has gone; for `jrsr_core.interrupt.watched`."""
        if isinstance(self._end, PeerGone):
            raise Cancelled(str(self._end))

    def first_texts(self) -> list[Text]:
        """Return the texts that come before anything else, as soon as something else has come."""
        with self._changed:
            while (
                self._end is None
                and self._n_bytes <= self._max_bytes
                and all(isinstance(item, Text) for item in self._items)
            ):
                self._changed.wait()
            return self._take_while(lambda item: isinstance(item, Text))

    def _take_while(self, belongs: Callable[[Any], bool]) -> list[Any]:
        taken = []
        while self._items and belongs(self._items[0]):
            taken.append(self._items.popleft())
            self._n_bytes -= taken[-1].n_bytes
            self._memory.add(-taken[-1].n_bytes)
        self._changed.notify_all()
        return taken

    def batches(self) -> Iterator[list[Any]]:
        """Yield what has come in, at least one message at a time, until CLOSE.

        Raises
        ------
        PeerGone, ProtocolError
            The connection ended otherwise; what came before has been given out then.
        """
        while True:
            with self._changed:
                while not self._items and self._end is None:
                    self._changed.wait()
                items = self._take_while(lambda _: True)
            if items:
                yield items
            elif isinstance(self._end, StopIteration):
                return
            else:
                raise self._end

    def drain(self, seconds: float) -> None:
        """Read on and forget, until CLOSE, the end of the connection, or for so many seconds.

        A peer that is sending does not hear what it is told.
        """
        with self._changed:
            self._discards = True
            self._items.clear()
            self._memory.add(-self._n_bytes)
            self._n_bytes = 0
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._end is not None, seconds)
        if not isinstance(self._end, StopIteration | PeerGone | None):
            drain_bytes(self._connection.socket.socket, seconds)


def drain_bytes(sock: socket.socket, seconds: float) -> None:
    """Discard what comes, message or not, until nothing does."""
    end = time.monotonic() + seconds
    try:
        sock.settimeout(SILENCE)
        while sock.recv(2**16) and time.monotonic() < end:
            pass
    except OSError:
        pass
