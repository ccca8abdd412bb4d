"""Messages of a peer, read by a thread of their own while images are computed.

The thread waits while more than `max_bytes` are unread, or while the memory that all connections
share is exhausted; the socket then holds back a peer that sends faster than images are computed.
The thread is also the first to notice that the peer has disconnected.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Condition, Thread

from jrsr_core.common.cancellation import Cancelled

from .connection import Message, PeerConnection
from .memory import MemoryBudget
from .messages import MESSAGE_BYTES, Text
from .wire import PeerDisconnected, ProtocolError, Transport, checked

MAX_BYTES = 2**30
MEMORY_TIMEOUT = 60.0
"""Seconds that a scan waits for memory which other scans use."""

OPTION = "(jrsr serve --max-memory)"

DRAINED_SECONDS = 2.0
"""Seconds without data after which a stream that cannot be understood counts as drained."""


class Inbox:
    """Reads a connection to its end.

    Parameters
    ----------
    keeps_open
        Whether the peer keeps the connection open after its CLOSE until it receives ours, as
        Gadgetron does; a peer that does not has disconnected.
    memory
        Shared with other connections; it is an attribute as well.
    on_disconnect
        Called by the reading thread when the peer has disconnected.
    """

    def __init__(
        self,
        connection: PeerConnection,
        *,
        max_bytes: int = MAX_BYTES,
        keeps_open: bool = False,
        memory: MemoryBudget | None = None,
        on_disconnect: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._max_bytes = max_bytes
        self._keeps_open = keeps_open
        self._on_disconnect = on_disconnect
        self.memory = memory or MemoryBudget()
        self._items: deque[Message] = deque()
        # Bytes of unread messages, of the message that is arriving, and of what the scan holds.
        self._unread = self._arriving = self._held = 0
        self._is_finished = False
        self._error: BaseException | None = None
        self._is_answered = False
        self._is_discarding = False
        self._waiting_since: float | None = None
        self._changed = Condition()
        Thread(target=self._read, name="inbox", daemon=True).start()

    @property
    def idle_since(self) -> float | None:
        """When the scan began to wait for the peer, which sends nothing; None if it does not."""
        since = self._waiting_since
        return None if since is None else max(since, self._connection.stream.last_received)

    def _may_be_silent(self) -> bool:
        """Whether silence of the peer is excused: images are computed, or were until just now."""
        since, timeout = self._waiting_since, self._connection.stream.socket.gettimeout()
        return since is None or time.monotonic() - since < (timeout or 0.0)

    def _wait(self) -> None:
        """Wait for messages; to be called with the lock."""
        self._waiting_since = self._waiting_since or time.monotonic()
        self._changed.wait()

    def _read(self) -> None:
        self._connection.stream.reserve = self._reserve
        self._connection.stream.may_be_silent = self._may_be_silent
        error: BaseException | None = None
        try:
            while True:
                self._reserve(0)
                item = self._connection.receive()
                if item is None:
                    break
                self._keep(item)
        except BaseException as raised:
            error = raised
        self._finish(error)

    def _keep(self, item: Message) -> None:
        with self._changed:
            while self._unread > self._max_bytes and not self._is_discarding:
                self._changed.wait()
            if self._is_discarding:
                self.memory.add(-self._arriving)
            else:
                self._items.append(item)
                self._unread += _size(item)
                self.memory.add(_size(item) - self._arriving)
            self._arriving = 0
            self._changed.notify_all()

    def _reserve(self, n_bytes: int) -> None:
        """Wait for memory; raises `ProtocolError` if waiting would not bring any."""
        limit = min(self._connection.stream.limits.scan or math.inf, self.memory.limit)
        waiting_since = time.monotonic()
        with self._changed:
            while not self._is_discarding:
                own = self._unread + self._arriving + self._held
                if own + n_bytes > limit:
                    text = f"{own + n_bytes} bytes of a scan without an image"
                    raise ProtocolError(f"{text}, at most {limit} are kept {OPTION}")
                if self.memory.take(n_bytes):
                    self._arriving += n_bytes
                    return
                if self._items:
                    waiting_since = time.monotonic()
                if time.monotonic() - waiting_since > MEMORY_TIMEOUT:
                    waited = f"no memory for the scan within {MEMORY_TIMEOUT:g} s"
                    raise ProtocolError(f"{waited}: {self.memory} {OPTION}")
                self._changed.wait(0.05)

    def set_held(self, n_bytes: int) -> None:
        """Set how many bytes the scan keeps of the messages it has taken."""
        with self._changed:
            self.memory.add(n_bytes - self._held)
            self._held = n_bytes

    def release(self) -> None:
        """Return all memory, and discard what still comes."""
        with self._changed:
            self._discard()
            self.memory.add(-(self._arriving + self._held))
            self._arriving = self._held = 0

    def _discard(self) -> None:
        self._is_discarding = True
        self._items.clear()
        self.memory.add(-self._unread)
        self._unread = 0
        self._changed.notify_all()

    def _finish(self, error: BaseException | None) -> None:
        with self._changed:
            self._is_finished, self._error = True, error
            self._changed.notify_all()
        if error is None and self._keeps_open:
            self._watch_for_disconnect()
        if isinstance(self._error, PeerDisconnected):
            self._on_disconnect()

    def _watch_for_disconnect(self) -> None:
        """Wait until the answer was sent, or the peer disconnects before."""
        while not self._is_answered:
            try:
                self._connection.stream.socket.recv(1)
            except TimeoutError:
                continue
            except OSError:
                pass
            break
        with self._changed:
            if not self._is_answered:
                self._error = PeerDisconnected("connection ended before the images were sent")
                self._changed.notify_all()

    def mark_answered(self) -> None:
        """Mark the answer as complete; a disconnect is no longer an error."""
        with self._changed:
            self._is_answered = True

    def check(self) -> None:
        """Raise `Cancelled` if the peer has disconnected; for `common.cancellation.watched`."""
        if isinstance(self._error, PeerDisconnected):
            raise Cancelled(str(self._error))

    def first_texts(self) -> list[Text]:
        """Return the texts that come before anything else, as soon as something else has come."""
        texts: list[Text] = []
        n_bytes, limit = 0, self._connection.stream.limits.text
        with self._changed:
            while not self._is_finished or self._items:
                if not self._items:
                    self._wait()
                elif isinstance(first := self._items[0], Text):
                    texts.append(first)
                    self._taken([self._items.popleft()])
                    n_bytes = checked("texts after the header", n_bytes + _size(first), limit)
                else:
                    break
            self._waiting_since = None
        return texts

    def _taken(self, items: Sequence[Message]) -> None:
        n_bytes = sum(map(_size, items))
        self._unread -= n_bytes
        self.memory.add(-n_bytes)
        self._changed.notify_all()

    def batches(self) -> Iterator[list[Message]]:
        """Yield what has come, at least one message at a time, until CLOSE.

        Raises
        ------
        PeerDisconnected, ProtocolError
            The connection ended otherwise; what came before has been yielded.
        """
        while True:
            with self._changed:
                while not self._items and not self._is_finished:
                    self._wait()
                self._waiting_since = None
                items = list(self._items)
                self._items.clear()
                self._taken(items)
            if items:
                yield items
            elif self._error is not None:
                raise self._error
            else:
                return

    def drain(self, seconds: float) -> None:
        """Discard what comes until CLOSE, the end of the connection, or the time is over.

        A peer that is sending does not read until it has finished.
        """
        with self._changed:
            self._discard()
            self._waiting_since = self._waiting_since or time.monotonic()
            self._changed.wait_for(lambda: self._is_finished, seconds)
        if self._error is not None and not isinstance(self._error, PeerDisconnected):
            drain_bytes(self._connection.stream.socket, seconds)


def _size(item: Message) -> int:
    """Return the memory of a message."""
    return MESSAGE_BYTES + item.n_bytes


def drain_bytes(sock: Transport, seconds: float) -> None:
    """Discard bytes, whether messages or not, until none come or the time is over."""
    end = time.monotonic() + seconds
    try:
        sock.settimeout(DRAINED_SECONDS)
        while sock.recv(2**16) and time.monotonic() < end:
            pass
    except OSError:
        pass
