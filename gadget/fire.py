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
from gadget.server.noise_session import NoiseSession, is_noise_measurement
from gadget.server.noise_store import NoiseStore
from gadget.server.peer_settings import requested_settings
from gadget.server.protocol.connection import PeerConnection
from gadget.server.protocol.inbox import Inbox
from gadget.server.protocol.messages import Text
from gadget.server.protocol.wire import Stream
from gadget.server.session import Session
from gadget.settings import Settings

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
    peer = _peer(Stream(connection.socket), config, _xml(metadata))
    inbox = Inbox(peer)
    if is_noise_measurement(peer):
        return int(NoiseSession(peer, inbox, NOISE).receive().code)

    def prepare() -> tuple[Settings, Engine]:
        settings = requested_settings(peer, inbox, own or Settings(), may_name_files=False)
        return settings, make_engine(settings)

    return int(Session(peer, inbox, earlier_noise=NOISE.find).run(prepare).code)


def _xml(metadata: Any) -> bytes:
    if isinstance(metadata, str | bytes):
        return metadata if isinstance(metadata, bytes) else metadata.encode("utf-8")
    return ismrmrd.xsd.ToXML(metadata).encode("utf-8")


def _peer(stream: Stream, config: Any, header: bytes) -> PeerConnection:
    """Return the connection to a client that has sent its configuration as a name or as a text."""
    peer = PeerConnection(stream, b"", header, is_gadgetron=False)
    if not isinstance(config, str | bytes | None):
        peer.parameters = [Text(json.dumps(config))]
        return peer
    text = config.encode("utf-8", errors="replace") if isinstance(config, str) else config or b""
    text = text.strip(b"\0 \r\n\t")
    if text[:1] in (b"{", b"<"):
        peer.config = text
    else:
        peer.config_name = text.decode("utf-8", errors="replace")
    return peer
