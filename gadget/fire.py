"""Module for the server of FIRE (python-ismrmrd-server): ``process(connection, config, metadata)``.

Start that server with ``-d gadget.fire``, or choose the configuration ``gadget.fire``. JRSR takes
over the socket after the header, because the connection of that server cannot send while it waits
for data; so that server does not save the data of the scan.
"""

import json
import logging
from typing import Any

import ismrmrd

from gadget.compute.engine import Engine
from gadget.compute.model import make_engine
from gadget.configuration import (
    Warn,
    named_properties,
    parameters_of,
    properties_of,
    refuse_files,
)
from gadget.server.noise_session import NoiseSession
from gadget.server.noise_store import CONFIG as NOISE_CONFIG
from gadget.server.noise_store import NoiseStore
from gadget.server.protocol.connection import PeerConnection
from gadget.server.protocol.inbox import Inbox
from gadget.server.protocol.wire import Stream
from gadget.server.session import Session
from gadget.settings import Settings

log = logging.getLogger("jrsr")

NOISE = NoiseStore()
"""Noise measurements of all scans that this process has served."""


def process(connection: Any, config: Any, metadata: Any, own: Settings | None = None) -> int:
    """Reconstruct the scan of a connection; return the exit code that `jrsr recon` would have.

    Images, the reason of a failure (TEXT) and CLOSE are sent to the client.

    Parameters
    ----------
    connection
        Connection of that server; its `socket` has been read up to the header.
    config
        Name of a configuration, as `jrsr serve` takes it, or in its place the parameters of the
        scanner as a dictionary, JSON or XML; they may not name files.
    metadata
        Header, as `ismrmrd.xsd` parses it or as text.
    own
        Settings that the configuration overrides; the defaults if none are given.
    """
    peer = PeerConnection(Stream(connection.socket), b"", _xml(metadata), is_gadgetron=False)
    inbox = Inbox(peer)
    if isinstance(config, str) and config.startswith(NOISE_CONFIG):
        return int(NoiseSession(peer, inbox, NOISE).receive().code)

    def prepare() -> tuple[Settings, Engine]:
        settings = _settings(peer, inbox, config, own or Settings())
        return settings, make_engine(settings)

    return int(Session(peer, inbox, earlier_noise=NOISE.find).run(prepare).code)


def _xml(metadata: Any) -> bytes:
    if isinstance(metadata, str | bytes):
        return metadata if isinstance(metadata, bytes) else metadata.encode("utf-8")
    return ismrmrd.xsd.ToXML(metadata).encode("utf-8")


def _settings(peer: PeerConnection, inbox: Inbox, config: Any, own: Settings) -> Settings:
    """Return the settings of a scan: those of the configuration, then those of texts after it."""

    def warn(text: str) -> None:
        log.warning("%s", text)
        peer.send_warning(text)

    texts = [text.text for text in inbox.first_texts() if text.text.lstrip().startswith("{")]
    groups = [_properties(config, warn), *(parameters_of(text, warn) for text in texts)]
    for group in groups:
        refuse_files(group, own)
    return own.override(*groups)


def _properties(config: Any, warn: Warn) -> dict[str, Any]:
    """Return the settings of a configuration: those of its name, or its parameters.

    Raises
    ------
    UsageError
        A name that is unknown, or a text without parameters.
    """
    if config is None:
        return {}
    if not isinstance(config, str | bytes):
        return parameters_of(json.dumps(config), warn)
    text = config if isinstance(config, bytes) else config.encode("utf-8", errors="replace")
    text = text.strip(b"\0 \r\n\t")
    if text[:1] in (b"{", b"<"):
        return properties_of(text, warn)
    return named_properties(text.decode("utf-8", errors="replace"))
