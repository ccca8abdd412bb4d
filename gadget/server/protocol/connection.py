"""The connection of one peer: its configuration and header, then messages in both directions.

Gadgetron starts a process for an `<execute>` node, in which its own module has read configuration
and header already. Peers that connect to the server, which are Gadgetron (`<connect>`) or an MRD
client, begin with a handshake.
"""

from collections.abc import Callable, Sequence
from typing import Any

import ismrmrd

from jrsr_core.mrd.header.xml import XmlError, parse_xml

from .arrays import read_image_array, read_recon_data
from .bucket import read_bucket
from .messages import (
    MESSAGE_BYTES,
    ForwardedMessage,
    Lines,
    Query,
    Text,
    decode,
    error_message,
    image_message,
    read_acquisition,
    read_image,
    read_query,
    read_text,
    read_waveform,
    text_message,
)
from .wire import UINT16, UINT32, Id, ProtocolError, Stream, checked

CLOSE = UINT16.pack(Id.CLOSE)
CONFIG_FILE_BYTES = 1024

OPENING = (Id.CONFIG_FILE, Id.CONFIG, Id.HEADER)
"""Messages that come before all others, once."""

Message = Lines | ForwardedMessage | Text | Query

READERS: dict[int, Callable[[Stream], Message]] = {
    Id.TEXT: read_text,
    Id.QUERY: read_query,
    Id.ACQUISITION: read_acquisition,
    Id.IMAGE: read_image,
    Id.RECON_DATA: read_recon_data,
    Id.IMAGE_ARRAY: read_image_array,
    Id.WAVEFORM: read_waveform,
    Id.BUCKET: read_bucket,
}
"""Readers of payloads by message id."""


def read_payload(number: int, stream: Stream) -> Message:
    """Return the message of this id whose payload comes next.

    Raises
    ------
    ProtocolError
        Unknown id, a further configuration or header, or a payload that cannot be understood.
    """
    if number in OPENING:
        name = Id(number).name.lower().replace("_", " ")
        raise ProtocolError(f"a further {name} came: a connection is for one scan")
    if number not in READERS:
        raise ProtocolError(f"message id {number} is unknown")
    return READERS[number](stream)


class PeerConnection:
    """Sends and receives messages.

    Parameters
    ----------
    config, header
        Texts as they came.
    config_name
        Name of a configuration, which MRD clients send instead of a text.
    parameters
        Texts between configuration and header.
    is_gadgetron
        Whether the peer understands ERROR; an MRD client receives a TEXT instead.
    """

    def __init__(
        self,
        stream: Stream,
        config: bytes,
        header: bytes,
        *,
        config_name: str | None = None,
        parameters: Sequence[Text] = (),
        is_gadgetron: bool = True,
    ) -> None:
        self.stream = stream
        self.config = config
        self.header = header
        self.config_name = config_name
        self.parameters = list(parameters)
        self.is_gadgetron = is_gadgetron

    @classmethod
    def of_module(cls, connection: Any) -> "PeerConnection":
        """Take over the socket of a connection that the module `gadgetron` has made."""
        raw = connection.raw_bytes
        return cls(Stream(connection.socket.socket), raw.config, raw.header)

    def receive(self) -> Message | None:
        """Return the next message; None for CLOSE.

        Raises
        ------
        ProtocolError
            The message cannot be understood.
        PeerDisconnected, TimeoutError
            As `Stream.read`.
        """
        number = self.stream.number(UINT16)
        return None if number == Id.CLOSE else read_payload(number, self.stream)

    def send(self, item: ismrmrd.Image | ForwardedMessage) -> None:
        """Send a message; raises as `Stream.write`."""
        is_forwarded = isinstance(item, ForwardedMessage)
        self.stream.write(item.to_bytes() if is_forwarded else image_message(item))

    def send_close(self) -> None:
        """Send that everything was sent; raises as `Stream.write`."""
        self.stream.write(CLOSE)

    def send_warning(self, text: str) -> None:
        """Send a warning to an MRD client; Gadgetron takes none. Raises as `Stream.write`."""
        if not self.is_gadgetron:
            self.stream.write(text_message(f"WARNING {text}"))

    def error(self, text: str) -> bytes:
        """Return the message that tells the peer of a failure; empty if it takes none."""
        if self.is_gadgetron:
            return error_message(text)
        return text_message(f"ERROR {text}")


class Handshake:
    """Reads configuration and header of a peer that has just connected.

    Parameters
    ----------
    answer
        Called for queries that come before the header.
    """

    def __init__(
        self, stream: Stream, answer: Callable[[Stream, Query], None] = lambda stream, query: None
    ) -> None:
        self._stream = stream
        self._answer = answer
        self._n_queries = 0

    def run(self) -> PeerConnection:
        """Return the connection.

        Raises
        ------
        ProtocolError
            Configuration and header are not the first messages.
        PeerDisconnected, TimeoutError
            As `Stream.read`.
        """
        config_name, config, is_gadgetron = None, b"", False
        number = self._id_or_query()
        if number == Id.CONFIG_FILE:
            config_name = decode(self._stream.read(CONFIG_FILE_BYTES).partition(b"\0")[0])
        elif number == Id.CONFIG:
            config = self._sized("configuration", self._stream.limits.config)
            is_gadgetron = _is_node_configuration(config)
        else:
            raise ProtocolError(f"message id {number} came first, expected a configuration")
        parameters, header = self._texts_and_header()
        return PeerConnection(
            self._stream,
            config,
            header,
            config_name=config_name,
            parameters=parameters,
            is_gadgetron=is_gadgetron,
        )

    def _texts_and_header(self) -> tuple[list[Text], bytes]:
        texts: list[Text] = []
        n_bytes, limit = 0, self._stream.limits.text
        while (number := self._id_or_query()) == Id.TEXT:
            texts.append(read_text(self._stream))
            n_bytes += MESSAGE_BYTES + texts[-1].n_bytes
            checked("texts before the header", n_bytes, limit)
        if number != Id.HEADER:
            raise ProtocolError(f"message id {number} came, expected the header")
        return texts, self._sized("header", limit)

    def _sized(self, what: str, limit: int) -> bytes:
        return bytes(self._stream.sized(what, UINT32, limit))

    def _id_or_query(self) -> int:
        """Return the next id that is not a query, after the queries before it are answered."""
        while (number := self._stream.number(UINT16)) == Id.QUERY:
            self._n_queries += 1
            if self._n_queries > self._stream.limits.queries:
                raise ProtocolError(f"more than {self._stream.limits.queries} queries came")
            self._answer(self._stream, read_query(self._stream))
        return number


def _is_node_configuration(text: bytes) -> bool:
    """Whether this is the `<configuration>` of an `<external>` node, not a whole chain or JSON.

    A text that ends with NUL is of an MRD client (FIRE), whatever it contains.
    """
    if text.endswith(b"\0"):
        return False
    try:
        root = parse_xml(text)
    except XmlError:
        # Without a configuration Gadgetron sends the XML declaration alone.
        return text.strip().startswith(b"<?xml") or not text.strip()
    return root.tag == "configuration" and root.find("stream") is None
