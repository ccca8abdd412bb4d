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
from gadget.configuration import (
    named_properties,
    parameters_of,
    properties_of,
    refuse_files,
)
from gadget.errors import UsageError
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
        Name of the configuration (``jrsr``, ``openrecon``, a model, or that of this module), or the
        parameters of the scanner as a dictionary, JSON or XML; they may not name files.
    metadata
        Header, as `ismrmrd.xsd` parses it or as text.
    """
    peer = PeerConnection(Stream(connection.socket), b"", _xml(metadata), is_gadgetron=False)
    inbox = Inbox(peer)

    def prepare() -> tuple[Settings, Engine]:
        texts = [text.text for text in inbox.first_texts() if text.text.lstrip().startswith("{")]
        groups, own = [_properties(config), *map(parameters_of, texts)], Settings()
        for group in groups:
            refuse_files(group, own)
        settings = own.override(*groups)
        return settings, make_engine(settings)

    return int(Session(peer, inbox).run(prepare).code)


def _xml(metadata: Any) -> bytes:
    if isinstance(metadata, str | bytes):
        return metadata if isinstance(metadata, bytes) else metadata.encode("utf-8")
    return ismrmrd.xsd.ToXML(metadata).encode("utf-8")


def _properties(config: Any) -> dict[str, Any]:
    """Return the settings of a configuration: those of its name, or its parameters.

    Raises
    ------
    UsageError
        A name that is unknown, or a text without parameters.
    """
    text = json.dumps(config) if isinstance(config, dict) else _text(config)
    if text[:1] not in ("{", "<"):
        return {} if text == __name__ else named_properties(text)
    properties = properties_of(text.encode("utf-8"))
    return _named_in(text) | properties


def _text(config: Any) -> str:
    text = config.decode("utf-8", errors="replace") if isinstance(config, bytes) else config or ""
    return text.strip("\0 \r\n\t")


def _named_in(text: str) -> dict[str, Any]:
    """Return the settings of the configuration that JSON parameters name, if it is one of ours."""
    if text[:1] != "{":
        return {}
    value = json.loads(text)
    inner = value.get("parameters", value)
    name = inner.get("config") if isinstance(inner, dict) else None
    try:
        return named_properties(name) if isinstance(name, str) else {}
    except UsageError:
        return {}  # The name of a module of that server.
