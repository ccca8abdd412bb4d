"""One accepted connection of the resident server, from its first byte on."""

import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gadget.compute.engine import Engine, EngineCache
from gadget.configuration import named_properties, parameters_of, properties_of
from gadget.errors import Exit, UsageError, describe
from gadget.server.protocol.connection import PeerConnection
from gadget.server.protocol.inbox import Inbox, Memory, drain_bytes
from gadget.server.protocol.messages import Query, error_message, response_message, text_message
from gadget.server.protocol.wire import UINT16, Id, Limits, PeerGone, ProtocolError, Stream
from gadget.settings import Settings

from .session import Outcome, Session

log = logging.getLogger("jrsr")

HANDSHAKE_SECONDS = 30.0
"""From the connection to the end of the header, however slowly they come."""

FILES = ("spool_dir", "noise_file", "weights")
"""Settings that are paths on this machine; `model` is one where it names a card."""


@dataclass(frozen=True)
class Terms:
    """What a server grants its peers.

    Attributes
    ----------
    limits
        Sizes on the wire.
    memory
        Of all scans together.
    idle_timeout
        Seconds without a byte, from or to a peer, before the scan is given up; 0 for no limit.
    peer_files
        Whether a peer may name files and folders of this machine.
    """

    limits: Limits = field(default_factory=Limits)
    memory: Memory = field(default_factory=Memory)
    idle_timeout: float = 0.0
    peer_files: bool = False


class Conversation:
    """Reads configuration and header, then serves the scan.

    Parameters
    ----------
    settings
        Of the server; what the peer says goes over them.
    health_line
        Answers queries.
    """

    def __init__(
        self,
        sock: socket.socket,
        name: str,
        settings: Settings,
        engines: EngineCache,
        health_line: Callable[[], str],
        terms: Terms,
    ) -> None:
        self.name = name
        self._sock = sock
        self._settings = settings
        self._engines = engines
        self._health_line = health_line
        self._terms = terms
        self._deadline = time.monotonic() + HANDSHAKE_SECONDS
        self._n_queries = 0
        self._session: Session | None = None

    def run(self) -> Outcome | None:
        """Serve the peer; None for one that had no scan."""
        self._sock.settimeout(HANDSHAKE_SECONDS)
        client = is_client(self._sock)
        try:
            peer = PeerConnection(
                self._sock, self._terms.limits, self._answer, deadline=self._deadline
            )
        except ProtocolError as error:
            log.error("%s: %s", self.name, error)
            refuse(self._sock, describe(error), client)
            return Outcome(Exit.FAILED, error=describe(error))
        except (PeerGone, TimeoutError) as error:
            if not self._n_queries:
                log.warning("%s: %s", self.name, describe(error))
            return None
        self._sock.settimeout(self._terms.idle_timeout or None)
        log.info("%s: %s", self.name, "Gadgetron" if peer.is_gadgetron else "MRD client")
        inbox = Inbox(peer, waits=peer.is_gadgetron, memory=self._terms.memory)
        self._session = Session(
            peer,
            inbox,
            understands_error=peer.is_gadgetron,
            answer=lambda query: self._answer(peer.socket, query),
        )
        return self._session.run(lambda: self._prepare(peer, inbox))

    def abort(self, reason: str) -> None:
        """End it from another thread; a peer with a scan is told why."""
        if self._session is not None:
            self._session.abort(reason)
        shut(self._sock)

    def _answer(self, stream: Stream, query: Query) -> None:
        self._n_queries += 1
        stream.write(response_message(query.correlation, self._health_line()))

    def _prepare(self, peer: PeerConnection, inbox: Inbox) -> tuple[Settings, Engine]:
        from jrsr_core.models.names import MODEL_NAMES

        properties = [properties_of(peer.raw_bytes.config)]
        if peer.config_name is not None:
            properties.append(named_properties(peer.config_name, tuple(MODEL_NAMES)))
        # MRD clients send their parameters after the header; Gadgetron never sends a text.
        later = [] if peer.is_gadgetron else inbox.first_texts()
        texts = peer.parameters + [text for text in later if text.text.lstrip().startswith("{")]
        properties += [parameters_of(text.text) for text in texts]
        if not self._terms.peer_files:
            for group in properties:
                _refuse_files(group, self._settings)
        settings = self._settings.override(*properties)
        return settings, self._engines.get(settings)


def _refuse_files(properties: dict[str, Any], own: Settings) -> None:
    """Refuse paths that differ from the server's own."""
    named = [name for name in FILES if properties.get(name)]
    if ".json" in str(properties.get("model", "")):
        named.append("model")
    for name in named:
        if properties[name] != getattr(own, name):
            raise UsageError(
                f"{name} names a file of the server, which peers may not choose "
                "(jrsr serve --peer-files)"
            )


# FOLDED gadget/listening.py: Sockets of the server: listening, refusing, shutting.
REFUSAL_SECONDS = 5.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return networks written as ``10.1.0.0/16``, ``fd00::/8`` or one address.

    Raises
    ------
    UsageError
        A text that is none.
    """
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in texts)
    except ValueError as error:
        raise UsageError(f"allow: {error}") from None


def is_allowed(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks, or there are none."""
    if not networks:
        return True
    # An IPv6 socket of a link-local peer names the interface, one of an IPv4 peer maps it.
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks)


def listen(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for all addresses of a name; port 0 for any, the same for all.

    Raises
    ------
    UsageError
        The address cannot be had.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except OSError as error:
        raise UsageError(f"host {host!r}: {error.strerror or error}") from None
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            # One port for all addresses, also where any will do.
            chosen = sockets[0].getsockname()[1] if sockets else port
            sockets.append(socket.create_server((address[0], chosen), family=family, backlog=64))
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    return sockets


def is_client(sock: socket.socket) -> bool:
    """Whether the first message is one that only MRD clients send."""
    try:
        return sock.recv(2, socket.MSG_PEEK) == UINT16.pack(Id.CONFIG_FILE)
    except OSError:
        return False


def refuse(sock: socket.socket, reason: str, is_client: bool) -> None:
    """Tell a peer of either kind, and close."""
    try:
        sock.settimeout(REFUSAL_SECONDS)
        sock.sendall(text_message(f"ERROR {reason}") if is_client else error_message(reason))
        drain_bytes(sock, REFUSAL_SECONDS)
        sock.sendall(UINT16.pack(Id.CLOSE))
    except OSError:
        pass


def shut(sock: socket.socket) -> None:
    """End a connection in both directions, if it has not ended."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
