"""Streams of MRD v2, through the package `mrd` (extra "mrd"): header, then items of many kinds.

Acquisitions and buckets are reconstructed; waveforms, images and all else pass by.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import ismrmrd

from gadget.errors import describe
from gadget.server.protocol.bucket import of_both_parts
from gadget.server.protocol.connection import Message, PeerConnection
from gadget.server.protocol.messages import ForwardedMessage, Lines
from gadget.server.protocol.wire import Id, ProtocolError, Stream

from .mrd_header import header_xml
from .mrd_images import image_item
from .mrd_lines import lines_of
from .mrd_schema import import_mrd
from .pipes import Pipes

T = TypeVar("T")

ITEM_BYTES = 2000
"""Memory of an item beyond its arrays."""

CUT_OFF = (EOFError, BufferError)
"""What the package raises where the bytes end too early."""

UNREADABLE = (
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
)
"""What the package raises for bytes that are no MRD v2."""


@dataclass(frozen=True, eq=False)
class ForwardedItem(ForwardedMessage):
    """An item that is not used here and is written as it was read."""

    item: Any = None

    @property
    def n_bytes(self) -> int:
        """Size in memory, of an array with its elements."""
        return getattr(self.item.value, "nbytes", 0) or ITEM_BYTES


class MrdStream(PeerConnection):
    """Reads the header, and sends it on.

    Raises
    ------
    UsageError, ProtocolError
        As `import_mrd`; or the stream has no header.
    """

    def __init__(self, stream: Stream, pipes: Pipes) -> None:
        self._mrd = import_mrd(pipes)
        reader = self._mrd.BinaryMrdReader(io.BufferedReader(StreamFile(stream)))
        header = self._understood(reader.read_header)
        if header is None:
            raise ProtocolError("input has no header, without which a scan cannot be read")
        xml = self._understood(lambda: header_xml(header))
        super().__init__(stream, b"", xml, is_gadgetron=False)
        self._items = iter(reader.read_data())
        self._writer = _writer_of(self._mrd, StreamFile(stream))
        self._writer.write_header(header)
        self._writer.flush()

    def receive(self) -> Message | None:
        """Return the next message; None at the end of the stream.

        Raises
        ------
        ProtocolError
            The bytes are no MRD v2, or the stream ends before its end.
        """
        item = self._understood(lambda: next(self._items, None))
        return None if item is None else self._understood(lambda: self._message(item))

    def _understood(self, read: Callable[[], T]) -> T:
        """Return what `read` returns; raises `ProtocolError` if the bytes are no MRD v2."""
        try:
            return read()
        except (ProtocolError, OSError):
            raise
        except CUT_OFF:
            raise ProtocolError("input is cut off: it ends within an item of MRD v2") from None
        except UNREADABLE as error:
            raise ProtocolError(f"input cannot be read as MRD v2: {describe(error)}") from error

    def _message(self, item: Any) -> Message:
        limit, value = self.stream.limits.line, item.value
        if isinstance(item, self._mrd.StreamItem.Acquisition):
            return Lines(lines_of([value], limit))
        if isinstance(item, self._mrd.StreamItem.AcquisitionBucket):
            kind = self._mrd.StreamItem.WaveformUint32
            waves: list[ForwardedMessage] = []
            waves += [ForwardedItem(0, b"", kind(wave)) for wave in value.waveforms]
            data, reference = (lines_of(part, limit) for part in (value.data, value.ref))
            return Lines(of_both_parts(data, reference), waves, is_bucket=True)
        return ForwardedItem(self._number_of(item), b"", item)

    def _number_of(self, item: Any) -> int:
        """Return the message id of what an item is in ISMRMRD v1; 0 for what that has not."""
        kinds = self._mrd.StreamItem
        if isinstance(item, kinds.ReconData):
            return Id.RECON_DATA
        if isinstance(item, kinds.ImageArray):
            return Id.IMAGE_ARRAY
        images = tuple(getattr(kinds, name) for name in dir(kinds) if name.startswith("Image"))
        return Id.IMAGE if isinstance(item, images) else 0

    def send(self, item: ismrmrd.Image | ForwardedMessage) -> None:
        """Send an image or an item; raises as `Stream.write`."""
        if isinstance(item, ForwardedItem):
            self._writer.write_data([item.item])
        elif isinstance(item, ismrmrd.Image):
            self._writer.write_data([image_item(item, self._mrd)])
        self._writer.flush()

    def send_close(self) -> None:
        """Send that everything was sent; raises as `Stream.write`."""
        self._writer.write_data([])
        self._writer.close()

    def error(self, text: str) -> bytes:
        """Return nothing: a stream has no message for errors."""
        return b""


class StreamFile(io.RawIOBase):
    """A stream as the binary file that the package reads and writes."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, target: Any) -> int:
        """Read what is there; return the number of bytes, 0 at the end."""
        return self._stream.read_some(memoryview(target).cast("B"))

    def write(self, data: Any) -> int:
        """Write everything."""
        view = memoryview(data).cast("B")
        self._stream.write(view)
        return len(view)


def _writer_of(mrd: ModuleType, target: StreamFile) -> Any:
    """Return a writer that can be made to write all it has, so that images leave at once."""

    class Writer(mrd.BinaryMrdWriter):  # type: ignore[name-defined]
        def flush(self) -> None:
            self._stream.flush()

    return Writer(target)
