"""A socket as a stream of whole pieces, and the numbers of Gadgetron's protocol.

Numbers are little-endian. A message is a uint16 id and a payload, whose length follows from its own
fields; so a message with an unknown id cannot be skipped. Lengths are checked before memory is
allocated for them, and memory is allocated only as fast as bytes arrive.
"""

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from threading import Lock
from typing import Protocol

from jrsr_core.common.os_errors import reason

CHUNK = 2**24
RESERVED_BYTES = 2**20
"""Bytes after which `Stream.reserve` is called again."""

UINT16, UINT32, UINT64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")


class Id(IntEnum):
    """Message ids."""

    CONFIG_FILE = 1
    CONFIG = 2
    HEADER = 3
    CLOSE = 4
    TEXT = 5
    QUERY = 6
    RESPONSE = 7
    ERROR = 8
    ACQUISITION = 1008
    IMAGE = 1022
    RECON_DATA = 1023
    IMAGE_ARRAY = 1024
    WAVEFORM = 1026
    ARRAY = 1030
    BUCKET = 1050


class ProtocolError(ValueError):
    """A message that cannot be understood; neither can the rest of the stream."""


class PeerDisconnected(ConnectionError):
    """The peer ended the connection without CLOSE."""


@dataclass(frozen=True)
class WireLimits:
    """Largest sizes accepted from a peer, in bytes.

    Attributes
    ----------
    config
        Configuration.
    text
        Header, attributes of an image, one text, and all texts before the header.
    line
        One acquisition or waveform.
    message
        One bucket, image or array.
    scan
        What is in memory of one scan; 0 for the memory of all scans (`MemoryBudget`).
    queries
        Number of queries before the header.
    """

    config: int = 2**20
    text: int = 2**24
    line: int = 2**28
    message: int = 2**34
    scan: int = 0
    queries: int = 1000


class Transport(Protocol):
    """What is used of a socket; `gadget.stream` has one of two pipes."""

    def recv_into(self, target: memoryview, /) -> int: ...  # noqa: D102
    def recv(self, n_bytes: int, /) -> bytes: ...  # noqa: D102
    def sendall(self, data: bytes | memoryview, /) -> None: ...  # noqa: D102
    def settimeout(self, seconds: float | None, /) -> None: ...  # noqa: D102
    def gettimeout(self) -> float | None: ...  # noqa: D102
    def shutdown(self, how: int, /) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Stream:
    """Reads from and writes to a connected socket, with the timeout of the socket.

    Attributes
    ----------
    reserve
        Called with a number of bytes before they are allocated; it may wait, or raise.
    deadline
        Time (`time.monotonic`) after which reading raises `TimeoutError`; None for no deadline.
    may_be_silent
        Called when the timeout of the socket has passed; whether reading goes on all the same.
    last_received
        When data came last (`time.monotonic`).
    """

    def __init__(self, sock: Transport, limits: WireLimits | None = None) -> None:
        self.socket = sock
        self.limits = limits or WireLimits()
        self.reserve: Callable[[int], None] = lambda n_bytes: None
        self.deadline: float | None = None
        self.may_be_silent: Callable[[], bool] = lambda: False
        self.last_received = time.monotonic()
        self._unreserved = 0
        self._lock = Lock()

    def read(self, n_bytes: int) -> bytearray:
        """Return exactly `n_bytes`.

        Raises
        ------
        PeerDisconnected
            The connection ends before.
        TimeoutError
            The timeout of the socket, or the deadline, has passed.
        """
        self._reserve(min(n_bytes, CHUNK))
        data = bytearray(min(n_bytes, CHUNK))
        done = 0
        while done < n_bytes:
            if done == len(data):
                self._reserve(min(n_bytes - done, CHUNK))
                data.extend(bytes(min(n_bytes - done, CHUNK)))
            done += self._receive(memoryview(data)[done:], done, n_bytes)
        return data

    def read_some(self, target: memoryview) -> int:
        """Read what is there into `target`; return the number of bytes, 0 at the end."""
        n = self.socket.recv_into(target)
        self._reserve(n)
        self.last_received = time.monotonic()
        return n

    def _reserve(self, n_bytes: int) -> None:
        self._unreserved += n_bytes
        if self._unreserved >= RESERVED_BYTES:
            n_bytes, self._unreserved = self._unreserved, 0
            self.reserve(n_bytes)

    def _receive(self, target: memoryview, done: int, n_bytes: int) -> int:
        try:
            if self.deadline is not None:
                self.socket.settimeout(max(self.deadline - time.monotonic(), 1e-3))
            n = self._receive_into(target)
        except TimeoutError:
            raise TimeoutError("no data from the peer for too long") from None
        except OSError as error:
            raise _disconnected(error) from None
        finally:
            # A bytearray cannot grow while a view of it exists.
            target.release()
        if n == 0:
            text = f"connection ended without CLOSE after {done} of {n_bytes} bytes"
            raise PeerDisconnected(text)
        self.last_received = time.monotonic()
        return n

    def _receive_into(self, target: memoryview) -> int:
        while True:
            try:
                return self.socket.recv_into(target)
            except TimeoutError:
                if self.deadline is not None or not self.may_be_silent():
                    raise

    def number(self, kind: struct.Struct) -> int:
        """Return one number."""
        return kind.unpack(self.read(kind.size))[0]

    def sized(self, what: str, kind: struct.Struct, limit: int) -> bytearray:
        """Return bytes that follow their own count, which `checked` compares with the limit."""
        return self.read(checked(what, self.number(kind), limit))

    def write(self, data: bytes | memoryview) -> None:
        """Send everything; raises `PeerDisconnected` if the peer does not receive it."""
        try:
            with self._lock:
                self.socket.sendall(data)
        except OSError as error:
            raise _disconnected(error) from None

    def write_within(self, data: bytes, seconds: float) -> None:
        """Send from another thread than the one that serves the peer.

        Raises
        ------
        PeerDisconnected
            The peer does not receive everything within so many seconds.
        """
        if not self._lock.acquire(timeout=seconds):
            raise PeerDisconnected("the peer does not read")
        try:
            self.socket.settimeout(seconds)
            self.socket.sendall(data)
        except OSError as error:
            raise _disconnected(error) from None
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the connection in both directions."""
        shut_down(self.socket)
        self.socket.close()


def _disconnected(error: OSError) -> PeerDisconnected:
    return PeerDisconnected(f"connection lost: {reason(error)}")


def shut_down(sock: Transport) -> None:
    """End a connection in both directions if it has not ended; the socket stays open."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def checked(what: str, n_bytes: int, limit: int) -> int:
    """Return a length; raises `ProtocolError` if it is beyond its limit."""
    if n_bytes > limit:
        raise ProtocolError(f"{what} of {n_bytes} bytes, at most {limit} are accepted")
    return n_bytes
