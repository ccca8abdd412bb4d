"""Target of ``<execute name="gadget.handler" target="reconstruct" type="python"/>``.

Gadgetron starts a process per scan, whose module connects and calls `reconstruct`. Only the
standard library is imported at first: any module that cannot be imported is then reported to the
client like other failures.
"""

import logging
import os
import socket
import struct
import sys
import threading
from contextlib import suppress
from typing import Any

GRACE = 0.5
"""Seconds that the process has to end by itself after the peer has disconnected."""

log = logging.getLogger("jrsr")


def reconstruct(connection: Any) -> int:
    """Serve the connection that Gadgetron's module has made; end the process if it is Gadgetron's.

    Gadgetron sends its CLOSE only when the process has ended. The exit code is that of the
    commands: 0 done, 1 failed, 2 declined, 3 with fallback images. It is returned where another
    program calls this, as with ``gadgetron.external.listen(port, reconstruct)``.
    """
    is_own = _is_own_process()
    try:
        code = _serve(connection, is_own)
    except BaseException as error:
        log.critical("%s", error, exc_info=True)
        _send_error(connection.socket.socket, f"{type(error).__name__}: {error}")
        code = 1
        if not (is_own or isinstance(error, Exception)):
            raise
    if not is_own:
        # The module sends a CLOSE of its own to the socket when we return.
        connection.socket.close = lambda: None
        return code
    try:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Also if our output cannot be written any more.
        os._exit(code)


def _is_own_process() -> bool:
    """Whether Gadgetron started this process, with ``python -m gadgetron``."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return getattr(spec, "name", "") == "gadgetron.__main__"


def _serve(connection: Any, is_own: bool) -> int:
    if is_own:
        _log_plainly()
        from gadget.compute.process import prepare_process

        prepare_process()
    if connection.filters:
        log.warning("filters of the connection are not used: JRSR reads all messages")

    from gadget.server.protocol.connection import PeerConnection
    from gadget.server.protocol.inbox import Inbox

    peer = PeerConnection.of_module(connection)
    inbox = Inbox(peer, keeps_open=True, on_disconnect=_exit_soon if is_own else _do_nothing)

    # Loads torch, while the inbox reads already.
    from gadget.compute.model import make_engine
    from gadget.configuration import properties_of
    from gadget.server.session import Session
    from gadget.settings import Settings

    def prepare() -> tuple[Any, Any]:
        settings = Settings(**properties_of(peer.config))
        return settings, make_engine(settings)

    outcome = Session(peer, inbox).run(prepare)
    peer.stream.close()
    return int(outcome.code)


def _log_plainly() -> None:
    """Escape what a peer has put into records, in the format of Gadgetron's module."""
    from gadget.plain_text import PlainFormatter

    for handler in logging.getLogger().handlers:
        given = handler.formatter or logging.Formatter()
        handler.setFormatter(PlainFormatter(given._fmt, given.datefmt))


def _do_nothing() -> None:
    """Leave the process to the program that calls us."""


def _exit_soon() -> None:
    """End the process, which has no peer any more, if it does not end by itself."""
    timer = threading.Timer(GRACE, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _send_error(sock: socket.socket, text: str) -> None:
    """Send ERROR and CLOSE without any module that may be missing."""
    data = text.encode("utf-8")
    with suppress(OSError):
        # As `Session._fail`: Gadgetron can take an error when its client has nothing left to send.
        sock.settimeout(2.0)
        while sock.recv(2**16):
            pass
    with suppress(OSError):
        sock.sendall(struct.pack("<HQ", 8, len(data)) + data + struct.pack("<H", 4))
