"""Module for the server of FIRE (python-ismrmrd-server): ``process(connection, config, metadata)``.

Start that server with ``-d gadget.fire``, or choose the configuration ``gadget.fire``. JRSR takes
over the socket after the header, because the connection of that server cannot send while it waits
for data; so that server does not save the data of the scan.
"""

import json
from typing import Any

import ismrmrd

from gadget.compute.engine import Engine
from gadget.compute.model import make_engine
from gadget.configuration import parameters_of, properties_of
from gadget.server.protocol.connection import PeerConnection
from gadget.server.protocol.inbox import Inbox
from gadget.server.protocol.wire import Stream
from gadget.server.session import Session
from gadget.settings import Settings


def process(connection: Any, config: Any, metadata: Any) -> int:
    """Reconstruct the scan of a connection; return the exit code that `jrsr recon` would have.

    Images, the reason of a failure (TEXT) and CLOSE are sent to the client.

    Parameters
    ----------
    connection
        Connection of that server; its `socket` has been read up to the header.
    config
        Name of the configuration, or the parameters of the scanner as a dictionary, JSON or XML.
    metadata
        Header, as `ismrmrd.xsd` parses it or as text.
    """
    peer = PeerConnection(Stream(connection.socket), b"", _xml(metadata), is_gadgetron=False)
    inbox = Inbox(peer)

    def prepare() -> tuple[Settings, Engine]:
        texts = [text.text for text in inbox.first_texts() if text.text.lstrip().startswith("{")]
        settings = Settings().override(_properties(config), *map(parameters_of, texts))
        return settings, make_engine(settings)

    return int(Session(peer, inbox).run(prepare).code)


def _xml(metadata: Any) -> bytes:
    if isinstance(metadata, str | bytes):
        return metadata if isinstance(metadata, bytes) else metadata.encode("utf-8")
    return ismrmrd.xsd.ToXML(metadata).encode("utf-8")


def _properties(config: Any) -> dict[str, Any]:
    """Return the settings of a configuration; the name of one has none."""
    if isinstance(config, dict):
        return parameters_of(json.dumps(config))
    text = config.encode("utf-8") if isinstance(config, str) else bytes(config or b"")
    return properties_of(text) if text.lstrip()[:1] in (b"{", b"<") else {}
