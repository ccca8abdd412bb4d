"""gadgetron's `Connection` with our readers and writers.

Under `<execute>` gadgetron's module makes the connection and `install` repairs it; sockets that we
accept become a `PeerConnection`, which reads any header and tells the two kinds of peers apart.
"""

import socket
from collections.abc import Callable
from typing import Any

import ismrmrd
from gadgetron.external.connection import Connection

from jrsr_core.mrd.xml import XmlError, parse_xml

from .arrays import read_bucket, read_image_array, read_recon_data
from .messages import (
    Passenger,
    Query,
    Text,
    decode,
    image_message,
    passenger_message,
    read_acquisition,
    read_image,
    read_query,
    read_text,
    read_waveform,
)
from .wire import UINT16, UINT32, Id, Limits, ProtocolError, Stream, checked

CONFIG_FILE_BYTES = 1024


class Readers(dict):
    """Readers by message id.

    `get` is what gadgetron asks. Its own answer to an unknown id is to end quietly; but the rest
    of the stream cannot be understood after it, and the data that was lost has to be missed.
    """

    def get(self, number: int, default: Any = None) -> Callable[[Stream], Any]:
        """Return a reader.

        Raises
        ------
        ProtocolError
            Unknown id.
        """
        try:
            return self[number]
        except KeyError:
            raise ProtocolError(f"message id {number} is unknown") from None


def _closed(_: Stream) -> None:
    raise StopIteration


READERS = Readers(
    {
        Id.CLOSE: _closed,
        Id.TEXT: read_text,
        Id.QUERY: read_query,
        Id.ACQUISITION: read_acquisition,
        Id.IMAGE: read_image,
        Id.RECON_DATA: read_recon_data,
        Id.IMAGE_ARRAY: read_image_array,
        Id.WAVEFORM: read_waveform,
        Id.BUCKET: read_bucket,
    }
)

WRITERS = [
    (lambda item: isinstance(item, Passenger), lambda s, x: s.write(passenger_message(x))),
    (lambda item: isinstance(item, ismrmrd.Image), lambda s, x: s.write(image_message(x))),
]


def install(connection: Connection, limits: Limits | None = None) -> Connection:
    """Give a connection that gadgetron has made our stream, readers and writers."""
    if not isinstance(connection.socket, Stream):
        connection.socket = Stream(connection.socket.socket, limits)
    connection.readers = Readers(READERS)
    connection.writers = list(WRITERS)
    return connection


class PeerConnection(Connection):
    """A connection that was accepted: from Gadgetron (`<connect>`) or from an MRD client.

    `answer` is called for queries that come before the header; all of it has to be there by the
    `deadline` (`time.monotonic`).

    Attributes
    ----------
    config_name
        Name of a configuration, as MRD clients send; None if a text came.
    parameters
        Texts between configuration and header.
    raw_bytes
        `config` and `header` as they came.
    is_gadgetron
        Whether the peer understands ERROR; an MRD client is told by TEXT.

    Raises
    ------
    ProtocolError
        The conversation does not begin with configuration and header.
    PeerGone
        It ends there.
    """

    def __init__(
        self,
        sock: socket.socket,
        limits: Limits | None = None,
        answer: Callable[[Stream, Query], None] = lambda stream, query: None,
        deadline: float | None = None,
    ) -> None:
        # What gadgetron's own constructor sets; its parser refuses headers with unknown elements.
        self.socket = Stream(sock, limits)
        self.socket.deadline = deadline
        self.filters = []
        self._answer = answer
        self._n_queries = 0
        self.config_name: str | None = None
        self.is_gadgetron = False
        self.parameters: list[Text] = []
        config = self._read_config()
        self.raw_bytes = Connection.Struct(config=config, header=self._read_header())
        self.socket.deadline = None
        install(self)

    def _read_config(self) -> bytes:
        text = b""
        number = self._id_or_query()
        if number == Id.CONFIG_FILE:
            self.config_name = decode(self.socket.read(CONFIG_FILE_BYTES).partition(b"\0")[0])
        elif number == Id.CONFIG:
            text = bytes(self.socket.sized("configuration", UINT32, self.socket.limits.config))
            self.is_gadgetron = _is_node_configuration(text)
        else:
            raise ProtocolError(f"message id {number} came first, expected a configuration")
        return text

    def _read_header(self) -> bytes:
        number = self._id_or_query()
        while number == Id.TEXT:
            self.parameters.append(read_text(self.socket))
            n_bytes = sum(text.n_bytes + 2 for text in self.parameters)
            checked("texts before the header", n_bytes, self.socket.limits.text)
            number = self._id_or_query()
        if number != Id.HEADER:
            raise ProtocolError(f"message id {number} came, expected the header")
        return bytes(self.socket.sized("header", UINT32, self.socket.limits.text))

    def _id_or_query(self) -> int:
        number = self.socket.number(UINT16)
        while number == Id.QUERY:
            self._n_queries += 1
            if self._n_queries > self.socket.limits.queries:
                raise ProtocolError(f"more than {self.socket.limits.queries} queries came")
            self._answer(self.socket, read_query(self.socket))
            number = self.socket.number(UINT16)
        return number


def _is_node_configuration(text: bytes) -> bool:
    """Whether this is the `<configuration>` of an `<external>` node, not a whole chain or JSON."""
    try:
        root = parse_xml(text)
    except XmlError:
        # Without a configuration Gadgetron sends the XML declaration alone.
        return text.strip(b"\0 \r\n\t").startswith(b"<?xml") or not text.strip(b"\0 \r\n\t")
    return root.tag == "configuration" and root.find("stream") is None
