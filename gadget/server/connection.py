"""One connection of the resident server: handshake, settings, scan."""

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gadget.compute.engine import Engine, EngineCache
from gadget.errors import Exit, UsageError, describe
from gadget.plain_text import plain
from gadget.server.protocol.connection import Handshake, PeerConnection
from gadget.server.protocol.inbox import Inbox
from gadget.server.protocol.memory import MemoryBudget
from gadget.server.protocol.messages import Query, read_query, response_message
from gadget.server.protocol.wire import (
    UINT16,
    Id,
    PeerDisconnected,
    ProtocolError,
    Stream,
    WireLimits,
    shut_down,
)
from gadget.settings import Settings

from .health import ScanState
from .noise_session import NoiseSession, is_noise_measurement
from .noise_store import NoiseStore
from .peer_settings import requested_settings
from .session import Outcome, Session
from .sockets import REFUSAL_SECONDS, first_id, refuse

log = logging.getLogger("jrsr")

HANDSHAKE_SECONDS = 30.0
"""From the connection to the end of the header, also if they arrive slowly."""

IDLE_SECONDS = 2.0
"""Silence after which a peer without a header may lose its place to another one."""

IDLE_SCAN_SECONDS = 60.0
"""Silence after which a peer whose scan waits for it may lose its place to another one."""


@dataclass(frozen=True)
class ServerLimits:
    """What a server accepts from its peers.

    Attributes
    ----------
    wire
        Sizes of messages.
    memory
        Memory of all scans together.
    idle_timeout
        Seconds that a scan waits for its peer before it is given up; 0 for no limit.
    peer_files
        Whether a peer may name files and folders of this machine.
    """

    wire: WireLimits = field(default_factory=WireLimits)
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    idle_timeout: float = 600.0
    peer_files: bool = False


class ServedConnection:
    """Reads configuration and header of a peer, then serves its scan.

    Parameters
    ----------
    name
        Address of the peer, for the log.
    settings
        Settings of the server, which those of the peer override.
    answer
        Returns the answer to the text of a query.
    noise
        Noise measurements of all connections.
    """

    def __init__(
        self,
        sock: socket.socket,
        name: str,
        settings: Settings,
        engines: EngineCache,
        answer: Callable[[str], str],
        limits: ServerLimits,
        noise: NoiseStore,
    ) -> None:
        self.name = name
        self._sock = sock
        self._settings = settings
        self._engines = engines
        self._answer_to = answer
        self._limits = limits
        self._noise = noise
        self._stream = Stream(sock, limits.wire)
        self._deadline = time.monotonic() + HANDSHAKE_SECONDS
        self._was_queried = False
        self._session: Session | None = None

    @property
    def is_query(self) -> bool:
        """Whether the peer has asked for the health and has no scan."""
        return self._was_queried and self._session is None

    @property
    def scan_state(self) -> ScanState | None:
        """How far the scan of the peer has come; None without a scan."""
        session = self._session
        return None if session is None else session.progress.state(self.name, session.idle_since)

    @property
    def idle_since(self) -> float | None:
        """Since when the peer has been silent; None unless that is long, and it is our turn."""
        session = self._session
        since = self._stream.last_received if session is None else session.idle_since
        seconds = IDLE_SECONDS if session is None else IDLE_SCAN_SECONDS
        return None if since is None or time.monotonic() - since < seconds else since

    def answer_query(self) -> bool:
        """Answer a peer that only asks for the health; return whether it was one."""
        self._sock.settimeout(REFUSAL_SECONDS)
        if first_id(self._sock) != Id.QUERY:
            return False
        self._stream.deadline = time.monotonic() + REFUSAL_SECONDS
        try:
            self._stream.number(UINT16)
            self._answer(read_query(self._stream))
        except (ProtocolError, PeerDisconnected, TimeoutError) as error:
            log.warning("%s: %s", self.name, describe(error))
        return True

    def refuse(self, reason: str) -> None:
        """Send the peer why it is not served."""
        refuse(self._sock, reason, first_id(self._sock) == Id.CONFIG_FILE)

    def run(self) -> Outcome | None:
        """Serve the peer; return None for a peer without a scan."""
        self._sock.settimeout(HANDSHAKE_SECONDS)
        is_client = first_id(self._sock) == Id.CONFIG_FILE
        stream = self._stream
        stream.deadline = self._deadline
        try:
            peer = Handshake(stream, lambda _, query: self._answer(query)).run()
        except ProtocolError as error:
            log.error("%s: %s", self.name, error)
            refuse(self._sock, plain(describe(error)), is_client)
            return Outcome(Exit.FAILED, error=describe(error))
        except (PeerDisconnected, TimeoutError) as error:
            if not self._was_queried:
                log.warning("%s: %s", self.name, describe(error))
            return None
        stream.deadline = None
        self._sock.settimeout(self._limits.idle_timeout or None)
        log.info("%s: %s", self.name, "Gadgetron" if peer.is_gadgetron else "MRD client")
        inbox = Inbox(peer, keeps_open=peer.is_gadgetron, memory=self._limits.memory)
        noise = self._noise
        if is_noise_measurement(peer):
            self._session = NoiseSession(peer, inbox, noise)
            return self._session.receive()
        self._session = Session(peer, inbox, answer=self._answer, earlier_noise=noise.find)
        return self._session.run(lambda: self._prepare(peer, inbox))

    def abort(self, reason: str) -> None:
        """End the connection from another thread; a peer with a scan receives the reason."""
        if self._session is not None:
            self._session.abort(reason)
        shut_down(self._sock)

    def _answer(self, query: Query) -> None:
        self._was_queried = True
        self._stream.write(response_message(query.correlation, self._answer_to(query.text)))

    def _prepare(self, peer: PeerConnection, inbox: Inbox) -> tuple[Settings, Engine]:
        own, may_name_files = self._settings, self._limits.peer_files
        settings = requested_settings(
            peer, inbox, own, name=self.name, may_name_files=may_name_files
        )
        settings = _with_own_devices(settings, own)
        return settings, self._engines.get(settings)


def _with_own_devices(settings: Settings, own: Settings) -> Settings:
    """Return settings with devices of the server: "auto" stands for all of them.

    Raises
    ------
    UsageError
        A device that the server does not use, or one named twice.
    """
    if settings.device == "auto":
        return settings.override({"device": own.device})
    wanted = settings.devices
    if settings.device != own.device and not (
        set(wanted) <= set(own.devices) and len(set(wanted)) == len(wanted)
    ):
        raise UsageError(f"device is {plain(settings.device, 40)!r}, the server has {own.device}")
    return settings
