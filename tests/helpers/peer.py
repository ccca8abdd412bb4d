"""The other end of the connection, simulated by the test.

`Peer` is one end of a socket whose other end is ours: it sends bytes and collects what comes back
in a thread, so that neither side ever waits for the other. `Child` is the Gadgetron server for an
`<execute>` node, `resident` our server in a thread, `command` one of our commands as a process.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gadget.compute.model import make_engine
from gadget.server.server import Server
from gadget.settings import Settings
from jrsr_core.mrd.lines.acquired import LineList
from tests.helpers import layouts
from tests.helpers.paths import ROOT
from tests.helpers.processes import PATIENCE, wait_until

from .layouts import Answer

CHEAP = {"model": "cg-sense+sinc", "kernel_width": 4, "device": "cpu"}


class Peer:
    """One end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.answer = Answer()
        self.ended: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    @classmethod
    def to(cls, port: int, host: str = "127.0.0.1") -> "Peer":
        return cls(socket.create_connection((host, port), PATIENCE))

    def _receive(self) -> None:
        try:
            layouts.receive(self._read, self.answer)
        except (EOFError, OSError) as error:
            self.ended = error
        with self._changed:
            self._changed.notify_all()

    def _read(self, n: int) -> bytes:
        with self._changed:
            self._changed.notify_all()
        data = bytearray()
        while len(data) < n:
            try:
                piece = self.sock.recv(n - len(data))
            except TimeoutError:
                continue
            if not piece:
                raise EOFError(f"{len(data)} of {n} bytes")
            data += piece
        return bytes(data)

    def send(self, *messages: bytes) -> "Peer":
        """Send messages."""
        for message in messages:
            self.sock.sendall(message)
        return self

    def send_meanwhile(self, *messages: bytes) -> threading.Thread:
        """Send in a thread, as long as they are taken."""

        def send() -> None:
            try:
                self.send(*messages)
            except OSError:
                pass

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        return thread

    def wait_for(self, number: int, count: int = 1) -> Answer:
        """Wait until so many messages of this id have come."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: self.answer.ids.count(number) >= count or self.ended is not None, PATIENCE
            )
        assert came and self.answer.ids.count(number) >= count, (self.answer.ids, self.ended)
        return self.answer

    def finish(self) -> Answer:
        """Wait for CLOSE, or the end of the connection."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), self.answer.ids
        self.sock.close()
        return self.answer

    def drop(self, *, reset: bool = False) -> None:
        """Disconnect, as a process that was killed does."""
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        # Our own thread has to leave the socket before it can be closed.
        self.sock.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self.sock.close()


class Child:
    """A process that Gadgetron would start for `<execute>`, and its connection."""

    def __init__(
        self,
        folder: Path,
        config: str,
        xml: str | bytes,
        *,
        path: Path | None = None,
        before: str = "",
    ) -> None:
        """`path` comes before everything else on PYTHONPATH, `before` is a shell command."""
        self.log = folder / "child.log"
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", "gadgetron", str(port), "gadget.handler", "reconstruct"]
        if before:
            command = ["bash", "-c", f'{before} && exec "$@"', "child", *command]
        # Through a pipe: a limit on the size of files is not meant for the log.
        self.process = subprocess.Popen(
            command,
            env=environment(path),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._keep_log, daemon=True)
        self._reader.start()
        listening.settimeout(PATIENCE)
        with listening:
            sock, _ = listening.accept()
        self.peer = Peer(sock)
        self.peer.send(layouts.config(config), layouts.header(xml))

    def _keep_log(self) -> None:
        with self.log.open("wb") as log:
            for piece in self.process.stdout:
                log.write(piece)
                log.flush()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        self.process.stdout.close()
        self.peer.sock.close()

    def finish(self) -> tuple[Answer, int]:
        """Return what came, and the exit code."""
        answer = self.peer.finish()
        return answer, self.process.wait(PATIENCE)

    def wait_for_log(self, words: str) -> None:
        wait_until(lambda: words in self.log.read_text(errors="replace"), words)

    def cpu_seconds(self) -> float:
        """Processor time that the process has used, also of one that has just ended."""
        return cpu_seconds(self.process.pid)

    def wait_for_work(self, seconds: float) -> None:
        """Wait until the process has computed for so long."""
        end = self.cpu_seconds() + seconds
        wait_until(lambda: self.cpu_seconds() > end, "work")

    def cpu_seconds_to_end(self) -> float:
        """Wait for the process; return what it has computed since: no matter how loaded we are."""
        before = self.cpu_seconds()
        wait_until(lambda: stat_of(self.process.pid)[0] == "Z", "end of the process")
        after = self.cpu_seconds()
        self.process.wait(PATIENCE)
        return after - before


def stat_of(pid: int) -> list[str]:
    """Fields of a process from its state on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """Processor time of a process."""
    user, system = stat_of(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def closed_port() -> Iterator[int]:
    """Port at which nothing listens, and which nobody else can take meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def environment(path: Path | None = None) -> dict[str, str]:
    """Environment of our processes: this package, one thread unless told otherwise."""
    paths = [str(p) for p in (path, ROOT) if p is not None]
    return {"OMP_NUM_THREADS": "1"} | os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def resident(settings: Settings | None = None, make=make_engine, **options) -> Iterator[Server]:
    """Our server in a thread of this process; `port` is where it listens."""
    server = Server(settings or Settings(**CHEAP), make, port=0, **options)
    server.port = server.addresses[0][1]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen, int, Path]]:
    """`jrsr serve` as a process: the process, its port, its log."""
    log = folder / "serve.log"
    command = [sys.executable, "-m", "gadget", "serve", "--port", "0", "--device", "cpu"]
    command += ["--model", "cg-sense+sinc", "--set", "kernel_width=4", *arguments]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment(), cwd=folder, stdout=file, stderr=file)
    try:
        wait_until(lambda: "listening on" in log.read_text() or process.poll() is not None, log)
        (line,) = [x for x in log.read_text().splitlines() if "listening on" in x]
        yield process, int(line.rpartition(" ")[2]), log
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


def line_messages(lines: LineList) -> list[bytes]:
    """One message per line."""
    return [layouts.acquisition(h, d) for h, d in zip(lines.heads, lines.data, strict=True)]


def in_chunks(data: bytes, size: int) -> Iterator[bytes]:
    """Pieces of a message."""
    return (data[i : i + size] for i in range(0, len(data), size))


def is_readable(sock: socket.socket, seconds: float = 0.0) -> bool:
    return bool(select.select([sock], [], [], seconds)[0])
