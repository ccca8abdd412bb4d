"""One accepted connection of the resident server, from its first byte on."""

import logging
import socket
from collections.abc import Callable

from .configuration import named_properties, parameters_of, properties_of, settings_of
from .engine import Engine
from .engines import Engines
from .errors import Exit, describe
from .listening import is_client, refuse, shut
from .protocol.connection import PeerConnection
from .protocol.inbox import Inbox
from .protocol.messages import Query, response_message
from .protocol.wire import Limits, PeerGone, ProtocolError, Stream
from .session import Outcome, Session
from .settings import Settings

log = logging.getLogger("jrsr")

HANDSHAKE_SECONDS = 30.0


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
        engines: Engines,
        health_line: Callable[[], str],
        limits: Limits | None = None,
    ) -> None:
        self.name = name
        self._sock = sock
        self._settings = settings
        self._engines = engines
        self._health_line = health_line
        self._limits = limits
        self._n_queries = 0
        self._session: Session | None = None

    def run(self) -> Outcome | None:
        """Serve the peer; None for one that had no scan."""
        self._sock.settimeout(HANDSHAKE_SECONDS)
        client = is_client(self._sock)
        try:
            peer = PeerConnection(self._sock, self._limits, self._answer)
        except ProtocolError as error:
            log.error("%s: %s", self.name, error)
            refuse(self._sock, describe(error), client)
            return Outcome(Exit.FAILED, error=describe(error))
        except (PeerGone, TimeoutError) as error:
            if not self._n_queries:
                log.warning("%s: %s", self.name, describe(error))
            return None
        self._sock.settimeout(None)
        log.info("%s: %s", self.name, "Gadgetron" if peer.is_gadgetron else "MRD client")
        inbox = Inbox(peer, waits=peer.is_gadgetron)
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
        from jrsr_core.models import MODEL_NAMES

        properties = [properties_of(peer.raw_bytes.config)]
        if peer.config_name is not None:
            properties.append(named_properties(peer.config_name, tuple(MODEL_NAMES)))
        # MRD clients send their parameters after the header; Gadgetron never sends a text.
        later = [] if peer.is_gadgetron else inbox.first_texts()
        texts = peer.parameters + [text for text in later if text.text.lstrip().startswith("{")]
        properties += [parameters_of(text.text) for text in texts]
        settings = settings_of(self._settings, *properties)
        return settings, self._engines.get(settings)
