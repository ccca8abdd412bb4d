"""Target of ``<execute name="gadget.handler" target="reconstruct" type="python"/>``.

Gadgetron starts a process per scan, and its module connects and calls us. Only the standard library
is imported here: whatever else cannot be imported is reported to the client like any failure.
"""

import logging
import os
import socket
import struct
import sys
import threading
from typing import Any

GRACE = 0.5
"""Seconds that remain to finish when the peer has gone."""

log = logging.getLogger("jrsr")


def reconstruct(connection: Any) -> None:
    """Serve the connection, then end the process: Gadgetron holds its CLOSE back until then.

    The exit code is that of the commands: 0 done, 1 failed, 2 declined, 3 with fallback images.
    """
    try:
        code = _serve(connection)
    except BaseException as error:
        log.critical("%s", error, exc_info=True)
        _last_words(connection.socket.socket, f"{type(error).__name__}: {error}")
        code = 1
    try:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Also when nobody reads our output any more.
        os._exit(code)


def _serve(connection: Any) -> int:
    from gadget.compute.process import prepare_process

    prepare_process()

    from gadget.server.protocol.connection import install
    from gadget.server.protocol.inbox import Inbox

    from .configuration import properties_of

    install(connection)
    inbox = Inbox(connection, waits=True, on_gone=_leave_soon)

    from gadget.compute.model import make_engine
    from gadget.server.session import Session

    from .settings import Settings

    def prepare() -> tuple[Any, Any]:
        settings = Settings(**properties_of(connection.raw_bytes.config))
        return settings, make_engine(settings)

    outcome = Session(connection, inbox).run(prepare)
    connection.socket.hang_up()
    return int(outcome.code)


def _leave_soon() -> None:
    """Nobody is there to receive anything: what does not stop by itself is stopped."""
    timer = threading.Timer(GRACE, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _last_words(sock: socket.socket, text: str) -> None:
    """Send ERROR and CLOSE without any module that may be missing."""
    data = text.encode("utf-8")
    try:
        sock.sendall(struct.pack("<HQ", 8, len(data)) + data)
        sock.settimeout(2.0)
        # While it is sending, Gadgetron does not hear us.
        while sock.recv(2**16):
            pass
    except OSError:
        pass
    try:
        sock.sendall(struct.pack("<H", 4))
    except OSError:
        pass
