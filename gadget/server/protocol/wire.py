"""A socket as a stream of whole pieces, and the numbers of the protocol.

Little-endian; a message is a uint16 id and a payload whose length follows from its own fields, so
that an unknown id cannot be skipped. Nothing is allocated from a length before it was checked, and
then only as fast as the bytes arrive.
"""

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from threading import Lock

CHUNK = 2**24
GRAIN = 2**20
"""Bytes of a message after which `Stream.claim` is asked again."""

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
    BUCKET = 1050


class ProtocolError(ValueError):
    """What the peer sent cannot be understood; the stream is out of step from here on."""


class PeerGone(ConnectionError):
    """The peer ended the connection without CLOSE."""


@dataclass(frozen=True)
class Limits:
    """Largest sizes accepted from the wire, in bytes.

    `config` is for the configuration, `text` for header, meta attributes, one text message and all
    those before the header, `line` for one acquisition or waveform, `message` for a bucket, image
    or array, `scan` for what of one scan is in memory, and `queries` counts those before a header.
    """

    config: int = 2**20
    text: int = 2**24
    line: int = 2**28
    message: int = 2**34
    scan: int = 2**34
    queries: int = 1000


class Stream:
    """A connected socket, with its time-out.

    The methods `read`, `write` and `close` are those of gadgetron's own wrapper.

    Attributes
    ----------
    limits
        `Limits`.
    claim
        Asked with a number of bytes before they are allocated; may wait, or raise.
    deadline
        `time.monotonic` after which reading is a `TimeoutError`, however much comes; None for none.
    """

    def __init__(self, sock: socket.socket, limits: Limits | None = None) -> None:
        self.socket = sock
        self.limits = limits or Limits()
        self.claim: Callable[[int], None] = lambda n_bytes: None
        self.deadline: float | None = None
        self._unclaimed = 0
        self._lock = Lock()

    def read(self, n_bytes: int) -> bytearray:
        """Return exactly `n_bytes`.

        Raises
        ------
        PeerGone
            If the connection ends before.
        TimeoutError
            If the socket has a time-out, or the deadline is over.
        """
        self._count(min(n_bytes, CHUNK))
        data = bytearray(min(n_bytes, CHUNK))
        done = 0
        while done < n_bytes:
            if done == len(data):
                self._count(min(n_bytes - done, CHUNK))
                data.extend(bytes(min(n_bytes - done, CHUNK)))
            done += self._receive(memoryview(data)[done:], done, n_bytes)
        return data

    def _count(self, n_bytes: int) -> None:
        self._unclaimed += n_bytes
        if self._unclaimed >= GRAIN:
            n_bytes, self._unclaimed = self._unclaimed, 0
            self.claim(n_bytes)

    def _receive(self, target: memoryview, done: int, n_bytes: int) -> int:
        try:
            if self.deadline is not None:
                self.socket.settimeout(max(self.deadline - time.monotonic(), 1e-3))
            n = self.socket.recv_into(target)
        except TimeoutError:
            raise TimeoutError("nothing came from the peer for too long") from None
        except OSError as error:
            raise PeerGone(f"connection lost: {error.strerror or error}") from None
        finally:
            # A bytearray cannot grow while a view of it exists.
            target.release()
        if n == 0:
            raise PeerGone(f"connection ended without CLOSE after {done} of {n_bytes} bytes")
        return n

    def number(self, kind: struct.Struct) -> int:
        """Return one number."""
        return kind.unpack(self.read(kind.size))[0]

    def sized(self, what: str, kind: struct.Struct, limit: int) -> bytearray:
        """Return the bytes that follow their own count."""
        return self.read(checked(what, self.number(kind), limit))

    def write(self, data: bytes) -> None:
        """Send everything.

        Raises
        ------
        PeerGone
            If nobody receives it.
        """
        try:
            with self._lock:
                self.socket.sendall(data)
        except OSError as error:
            raise PeerGone(f"connection lost: {error.strerror or error}") from None

    def write_soon(self, data: bytes, seconds: float) -> None:
        """Send from another thread than the one that serves the peer, or give up.

        Raises
        ------
        PeerGone
            If the peer does not read, within so many seconds.
        """
        if not self._lock.acquire(timeout=seconds):
            raise PeerGone("the peer does not read")
        try:
            self.socket.settimeout(seconds)
            self.socket.sendall(data)
        except OSError as error:
            raise PeerGone(f"connection lost: {error.strerror or error}") from None
        finally:
            self._lock.release()

    def close(self) -> None:
        """Do nothing: gadgetron's own would send a second CLOSE; `hang_up` ends the connection."""

    def hang_up(self) -> None:
        """End the connection in both directions."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


def checked(what: str, n_bytes: int, limit: int) -> int:
    """Return a length that is within its limit.

    Raises
    ------
    ProtocolError
        Otherwise.
    """
    if n_bytes > limit:
        raise ProtocolError(f"{what} of {n_bytes} bytes, at most {limit} are accepted")
    return n_bytes
