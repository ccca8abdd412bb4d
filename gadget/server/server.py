"""The resident server: one process and one model for many scans.

Gadgetron connects to it with `<connect>`, MRD clients (FIRE, OpenRecon, `jrsr send`) directly. Each
connection has a thread; the engine shares the devices between them. After SIGTERM the server
accepts no new connections, and running scans have `grace` seconds to finish.
"""

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from gadget.compute.engine import Engine, EngineCache
from gadget.server.protocol.wire import shut_down
from gadget.settings import Settings

from .connection import ServedConnection, ServerLimits
from .counts import Health
from .health import HealthReport, answer_to, health_line
from .noise_store import NoiseStore
from .sockets import Network, is_allowed, listen

log = logging.getLogger("jrsr")

MAX_REFUSALS = 32
"""Connections beyond `max_connections` that receive the health, or why they are refused."""


class Server:
    """Listens, and serves every connection in a thread.

    Parameters
    ----------
    settings
        Of scans, as far as the peer does not override them.
    make_engine
        Makes the engine of some settings.
    host, port
        Where to listen: a name stands for all its addresses, IPv4 and IPv6; port 0 for any.
    max_connections
        Connections served at a time. A further one takes the place of the peer that has been
        silent for longest, if one has been for long enough, and is refused otherwise.
    grace
        Seconds that running scans have to finish after `stop`.
    allow
        Networks that may connect; other peers are disconnected at once. Empty for all.
    limits
        What is accepted from a peer.

    Raises
    ------
    UsageError
        The address cannot be used.
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
        allow: Sequence[Network] = (),
        limits: ServerLimits | None = None,
    ) -> None:
        self.settings = settings
        self.health = Health()
        self.engines = EngineCache(make_engine)
        self.max_connections = max_connections
        self.grace = grace
        self._allow = tuple(allow)
        self._limits = limits or ServerLimits()
        self._noise = NoiseStore()
        self._sockets = listen(host, port)
        self._wake, self._woken = socket.socketpair()
        self._open: dict[threading.Thread, ServedConnection] = {}
        # Those of the open connections that have one of the `max_connections` places.
        self._served: set[ServedConnection] = set()
        self._lock = threading.Lock()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Address and port of every socket it listens on."""
        return [s.getsockname()[:2] for s in self._sockets]

    @property
    def connections(self) -> list[ServedConnection]:
        """Open connections."""
        with self._lock:
            return list(self._open.values())

    def health_line(self) -> str:
        """Return what the server has done, on one line."""
        return health_line(self.health_report())

    def health_report(self) -> HealthReport:
        """Return what the server has done, and the scans that are going on."""
        connections = self.connections
        scans = [state for c in connections if (state := c.scan_state) is not None]
        n_queries = sum(c.is_query for c in connections)
        return self.health.report(n_queries, self.engines.n_waiting(), scans, self.engines.notes())

    def _answer(self, query: str) -> str:
        return answer_to(query, self.health_report())

    def run(self) -> None:
        """Serve until `stop` is called, then wait for running scans."""
        with selectors.DefaultSelector() as selector:
            for sock in (*self._sockets, self._woken):
                selector.register(sock, selectors.EVENT_READ, sock)
            while True:
                ready = [key.data for key, _ in selector.select()]
                # Also of the last round: the kernel has accepted these peers before us.
                for sock in ready:
                    if sock is not self._woken:
                        self._accept(sock)
                if self._woken in ready:
                    break
        self._finish()

    def stop(self) -> None:
        """Accept no new connections, from any thread; a second call ends the open ones."""
        try:
            self._wake.send(b"x")
        except OSError:
            pass

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, address = listening.accept()
        except OSError as error:
            log.warning("connection lost before it was accepted: %s", error)
            # If too many files are open, the next attempt would fail as well.
            time.sleep(0.1)
            return
        name = f"{address[0]}:{address[1]}"
        if not is_allowed(address[0], self._allow):
            log.warning("%s: not in an allowed network", name)
            sock.close()
            return
        if len(self._open) >= self.max_connections + MAX_REFUSALS:
            self._close_oldest()
        try:
            self._start(sock, name)
        except (OSError, RuntimeError) as error:
            # A peer that has left already, or no room for another thread.
            log.warning("%s: connection closed, it cannot be served: %s", name, error)
            sock.close()
            time.sleep(0.1)

    def _start(self, sock: socket.socket, name: str) -> None:
        """Serve a connection in a thread of its own."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection = ServedConnection(
            sock, name, self.settings, self.engines, self._answer, self._limits, self._noise
        )
        thread = threading.Thread(
            target=self._serve, args=(sock, connection), name=name, daemon=True
        )
        with self._lock:
            self._open[thread] = connection
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                del self._open[thread]
            raise

    def _serve(self, sock: socket.socket, connection: ServedConnection) -> None:
        outcome = None
        self.health.opened()
        try:
            if self._take_place(connection):
                outcome = connection.run()
            elif not connection.answer_query():
                if self._take_place(connection, instead_of_idle=True):
                    outcome = connection.run()
                else:
                    connection.refuse(f"{self.max_connections} connections are served already")
        except Exception:
            log.exception("%s: connection failed", connection.name)
        finally:
            shut_down(sock)
            sock.close()
            with self._lock:
                del self._open[threading.current_thread()]
                self._served.discard(connection)
            self.health.closed(outcome)
            log.info("health: %s", self.health_line())

    def _take_place(self, connection: ServedConnection, *, instead_of_idle: bool = False) -> bool:
        """Give a connection one of the places; return False if there is none for it."""
        with self._lock:
            idle = None
            if len(self._served) >= self.max_connections:
                idle = _idle_longest(self._served) if instead_of_idle else None
                if idle is None:
                    return False
                self._served.remove(idle)
            self._served.add(connection)
        if idle is not None:
            log.warning("%s: closed for %s, silent for too long", idle.name, connection.name)
            idle.abort("no data for too long, and another peer needs the connection")
        return True

    def _close_oldest(self) -> None:
        """Close the connection that has waited longest for a place, to make room for another."""
        with self._lock:
            waiting = [c for c in self._open.values() if c not in self._served]
        if waiting:
            log.warning("%s: too many connections, closed without an answer", waiting[0].name)
            waiting[0].abort("")

    def _finish(self) -> None:
        for listening in self._sockets:
            listening.close()
        end = time.monotonic() + self.grace
        log.info("stopping: %d connections have %g s to finish", len(self._open), self.grace)
        while self._open and time.monotonic() < end and not _was_stopped_twice(self._woken):
            time.sleep(0.02)
        with self._lock:
            left = dict(self._open)
        for connection in left.values():
            connection.abort("the server was stopped")
        for thread in left:
            thread.join(2.0)
        for woken in (self._wake, self._woken):
            woken.close()
        log.info("stopped: %s", self.health_line())


def _idle_longest(connections: Iterable[ServedConnection]) -> ServedConnection | None:
    """Return the connection whose peer has been silent for longest; None if none is idle."""
    idle = [(since, c.name, c) for c in connections if (since := c.idle_since) is not None]
    return min(idle, key=lambda entry: entry[:2])[2] if idle else None


def _was_stopped_twice(woken: socket.socket) -> bool:
    return len(woken.recv(2, socket.MSG_PEEK)) > 1
