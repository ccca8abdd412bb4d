"""The resident server: one process and one model for many scans.

Gadgetron connects to it with `<connect>`, MRD clients (FIRE, OpenRecon, `jrsr send`) directly. Each
connection has a thread; the engine shares the devices between them. SIGTERM lets the scans that are
going on come to their end, for `grace` seconds, and takes no new ones.
"""

import logging
import selectors
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, fields

from .configuration import named_properties, parameters_of, properties_of, settings_of
from .engine import Engine
from .errors import Exit, UsageError, describe
from .protocol.connection import PeerConnection
from .protocol.inbox import Inbox, drain_bytes
from .protocol.messages import Query, error_message, response_message, text_message
from .protocol.wire import UINT16, Id, Limits, PeerGone, ProtocolError, Stream
from .session import Outcome, Session
from .settings import Settings

log = logging.getLogger("jrsr")

HANDSHAKE_SECONDS = 30.0
REFUSAL_SECONDS = 5.0
MAX_ENGINES = 4
SCAN_ONLY = (
    "on_failure",
    "output",
    "series_index",
    "trigger",
    "time_limit",
    "spool_dir",
    "prewhiten",
    "noise_file",
)
"""Settings that need no engine of their own."""


class Engines:
    """Engines by the settings they were made with; the one unused for longest goes first."""

    def __init__(self, make: Callable[[Settings], Engine]) -> None:
        self._make = make
        self._kept: OrderedDict[tuple, Engine] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, settings: Settings) -> Engine:
        """Return the engine of these settings; raises as the making of one."""
        names = (f.name for f in fields(settings) if f.name not in SCAN_ONLY)
        key = tuple(getattr(settings, name) for name in names)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._make(settings)
                while len(self._kept) > MAX_ENGINES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def waiting(self) -> int:
        """Slices that wait in all queues."""
        # Without the lock: health is asked for while a model is loaded.
        return sum(engine.n_waiting for engine in list(self._kept.values()))


@dataclass
class Health:
    """What the server has done, on one line."""

    started: float = field(default_factory=time.monotonic)
    n_open: int = 0
    n_scans: int = 0
    n_failed: int = 0
    n_images: int = 0
    n_fallback: int = 0

    def line(self, n_waiting: int) -> str:
        """Return the health line."""
        up = time.monotonic() - self.started
        return (
            f"up {up:.0f} s, {self.n_open} connections, {n_waiting} slices waiting, "
            f"{self.n_scans} scans done, {self.n_failed} failed, {self.n_images} images, "
            f"{self.n_fallback} of them fallback images"
        )


class Server:
    """Listens, and serves every connection in a thread.

    Parameters
    ----------
    settings
        Of scans whose peer says nothing else.
    host, port
        Where to listen: a name stands for all its addresses, IPv4 and IPv6; port 0 for any.
    max_connections
        Served at once; one more is told so and closed.
    grace
        Seconds that scans may go on after `stop`.

    Raises
    ------
    UsageError
        The address cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        make_engine: Callable[[Settings], Engine],
        *,
        host: str = "127.0.0.1",
        port: int = 18000,
        max_connections: int = 16,
        grace: float = 60.0,
        limits: Limits | None = None,
    ) -> None:
        self.settings = settings
        self.health = Health()
        self.engines = Engines(make_engine)
        self.max_connections = max_connections
        self.grace = grace
        self._limits = limits
        self._sockets = _listen(host, port)
        self._wake, self._woken = socket.socketpair()
        self._threads: set[threading.Thread] = set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Address and port of every socket it listens on."""
        return [s.getsockname()[:2] for s in self._sockets]

    def health_line(self) -> str:
        """Return the health line."""
        return self.health.line(self.engines.waiting())

    def run(self) -> None:
        """Serve until `stop` is called; then wait for the scans that are going on."""
        with selectors.DefaultSelector() as selector:
            for listening in (*self._sockets, self._woken):
                selector.register(listening, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    break
                for listening in ready:
                    self._accept(listening)
        self._finish()

    def stop(self) -> None:
        """Take no new connections; a second call ends those that are open. From any thread."""
        try:
            self._wake.send(b"x")
        except OSError:
            pass

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, address = listening.accept()
        except OSError as error:
            log.warning("connection lost before it was accepted: %s", error)
            # Where there are too many open files, the next attempt fails as well.
            time.sleep(0.1)
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        name = f"{address[0]}:{address[1]}"
        thread = threading.Thread(target=self._thread, args=(sock, name), name=name, daemon=True)
        with self._lock:
            self._threads.add(thread)
            self._open.add(sock)
        thread.start()

    def _finish(self) -> None:
        for listening in self._sockets:
            listening.close()
        end = time.monotonic() + self.grace
        log.info("stopping: %d connections may go on for %g s", len(self._threads), self.grace)
        while self._threads and time.monotonic() < end:
            time.sleep(0.02)
            if _was_stopped_twice(self._woken):
                break
        for sock in list(self._open):
            # Its thread sees a peer that has gone, and computing stops.
            _shut(sock)
        for thread in list(self._threads):
            thread.join(2.0)
        for woken in (self._wake, self._woken):
            woken.close()
        log.info("stopped: %s", self.health_line())

    def _thread(self, sock: socket.socket, name: str) -> None:
        with self._lock:
            self.health.n_open += 1
            is_one_too_many = self.health.n_open > self.max_connections
        try:
            if is_one_too_many:
                reason = f"{self.max_connections} connections are served already"
                sock.settimeout(REFUSAL_SECONDS)
                _refuse(sock, reason, _is_client(sock))
            else:
                self._count(self._converse(sock, name))
        except Exception:
            log.exception("%s: connection failed", name)
        finally:
            with self._lock:
                self.health.n_open -= 1
                self._open.discard(sock)
                self._threads.discard(threading.current_thread())
            _shut(sock)
            sock.close()
            log.info("health: %s", self.health_line())

    def _count(self, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        with self._lock:
            self.health.n_scans += 1
            self.health.n_failed += outcome.code not in (Exit.DONE, Exit.FALLBACK)
            self.health.n_images += outcome.n_images
            self.health.n_fallback += outcome.n_fallback

    def _converse(self, sock: socket.socket, name: str) -> Outcome | None:
        sock.settimeout(HANDSHAKE_SECONDS)
        answered: list[Query] = []

        def answer(stream: Stream, query: Query) -> None:
            answered.append(query)
            stream.write(response_message(query.correlation, self.health_line()))

        is_client = _is_client(sock)
        try:
            peer = PeerConnection(sock, self._limits, answer)
        except ProtocolError as error:
            log.error("%s: %s", name, error)
            _refuse(sock, describe(error), is_client)
            return Outcome(Exit.FAILED, error=describe(error))
        except (PeerGone, TimeoutError) as error:
            if not answered:
                log.warning("%s: %s", name, describe(error))
            return None
        sock.settimeout(None)
        log.info("%s: %s", name, "Gadgetron" if peer.is_gadgetron else "MRD client")
        inbox = Inbox(peer, waits=peer.is_gadgetron)
        session = Session(
            peer,
            inbox,
            understands_error=peer.is_gadgetron,
            answer=lambda query: answer(peer.socket, query),
        )
        return session.run(lambda: self._prepare(peer, inbox))

    def _prepare(self, peer: PeerConnection, inbox: Inbox) -> tuple[Settings, Engine]:
        from jrsr_core.models import MODEL_NAMES

        properties = [properties_of(peer.raw_bytes.config)]
        if peer.config_name is not None:
            properties.append(named_properties(peer.config_name, tuple(MODEL_NAMES)))
        # MRD clients send their parameters after the header; Gadgetron never sends a text.
        later = [] if peer.is_gadgetron else inbox.first_texts()
        texts = peer.parameters + [text for text in later if text.text.lstrip().startswith("{")]
        properties += [parameters_of(text.text) for text in texts]
        settings = settings_of(self.settings, *properties)
        return settings, self.engines.get(settings)


def _listen(host: str, port: int) -> list[socket.socket]:
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


def _is_client(sock: socket.socket) -> bool:
    """Whether the first message is one that only MRD clients send."""
    try:
        return sock.recv(2, socket.MSG_PEEK) == UINT16.pack(Id.CONFIG_FILE)
    except OSError:
        return False


def _refuse(sock: socket.socket, reason: str, is_client: bool) -> None:
    """Tell a peer of either kind, and close."""
    try:
        sock.settimeout(REFUSAL_SECONDS)
        sock.sendall(text_message(f"ERROR {reason}") if is_client else error_message(reason))
        drain_bytes(sock, REFUSAL_SECONDS)
        sock.sendall(UINT16.pack(Id.CLOSE))
    except OSError:
        pass


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _was_stopped_twice(woken: socket.socket) -> bool:
    return len(woken.recv(2, socket.MSG_PEEK)) > 1
