"""Streams of ISMRMRD v1, those of `ismrmrd_hdf5_to_stream` and `ismrmrd_stream_to_hdf5`.

They are the messages of Gadgetron's protocol. The header comes first, or after a configuration,
which is for other programs; the output begins with the same header. Neither TEXT nor ERROR leaves:
a failure is a line on stderr, the exit code, and an output without CLOSE.
"""

import logging

import numpy as np

from gadget.plain_text import plain
from gadget.server.protocol.connection import (
    CONFIG_FILE_BYTES,
    Message,
    PeerConnection,
    read_payload,
)
from gadget.server.protocol.messages import PIXEL_BYTES, ForwardedMessage, header_message
from gadget.server.protocol.wire import (
    UINT16,
    UINT32,
    UINT64,
    Id,
    PeerDisconnected,
    ProtocolError,
    Stream,
    checked,
)

log = logging.getLogger("jrsr")

MAX_DIMENSIONS = 7
"""Of an array."""


class IsmrmrdStream(PeerConnection):
    """Reads the header, and sends it on.

    Raises
    ------
    ProtocolError
        The stream does not begin with a header.
    PeerDisconnected
        As `Stream.read` and `Stream.write`.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream, b"", _read_header(stream), is_gadgetron=False)
        stream.write(header_message(self.header))

    def receive(self) -> Message | None:
        """Return the next message; None for CLOSE.

        Raises
        ------
        ProtocolError
            The message cannot be understood, or the stream ends without CLOSE.
        """
        try:
            number = self.stream.number(UINT16)
            if number == Id.CLOSE:
                return None
            if number == Id.ARRAY:
                return _read_array(self.stream)
            return read_payload(number, self.stream)
        except PeerDisconnected as error:
            raise ProtocolError(f"input is cut off: {error}") from None

    def error(self, text: str) -> bytes:
        """Return nothing: a stream has no message for errors that its readers understand."""
        return b""


def _read_header(stream: Stream) -> bytes:
    number = stream.number(UINT16)
    while number in (Id.CONFIG_FILE, Id.CONFIG):
        if number == Id.CONFIG_FILE:
            text = bytes(stream.read(CONFIG_FILE_BYTES)).partition(b"\0")[0]
        else:
            text = bytes(stream.sized("configuration", UINT32, stream.limits.config))
        shown = plain(text.decode("utf-8", errors="replace"), 60)
        log.warning("configuration %r in the stream is not used: give --set", shown)
        number = stream.number(UINT16)
    if number != Id.HEADER:
        raise ProtocolError(
            f"input begins with message id {number}, expected an ISMRMRD header "
            f"(id {int(Id.HEADER)}) as ismrmrd_hdf5_to_stream writes it"
        )
    return bytes(stream.sized("header", UINT32, stream.limits.text))


def _read_array(stream: Stream) -> ForwardedMessage:
    """Read the payload of an array: type, version, number of dimensions, sizes, elements."""
    head = stream.read(6)
    kind, _, n_dimensions = np.frombuffer(head, "<u2").tolist()
    if kind not in PIXEL_BYTES or n_dimensions > MAX_DIMENSIONS:
        raise ProtocolError(
            f"array has data_type {kind} and {n_dimensions} dimensions, known: data_type "
            f"{min(PIXEL_BYTES)} to {max(PIXEL_BYTES)}, at most {MAX_DIMENSIONS} dimensions"
        )
    sizes = [stream.read(UINT64.size) for _ in range(n_dimensions)]
    n_elements = int(np.prod([UINT64.unpack(size)[0] for size in sizes], dtype=object))
    n_bytes = checked("array", n_elements * PIXEL_BYTES[kind], stream.limits.message)
    return ForwardedMessage(Id.ARRAY, head + b"".join(sizes) + stream.read(n_bytes))
