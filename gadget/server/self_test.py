"""A small scan through the resident server and back, over a socket of this machine."""

import threading

from gadget.compute.model import make_engine
from gadget.server.protocol.connection import CLOSE
from gadget.server.protocol.messages import (
    ForwardedMessage,
    Text,
    config_message,
    header_message,
)
from gadget.server.protocol.wire import UINT16, Id, Stream
from gadget.settings import Settings
from jrsr_core.mrd.images import is_fallback
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import simulate_scan

from .client import ServerFailure, connect, receive_messages, received_image
from .server import Server

SCAN = ScanRequest(matrix="192x192", n_coils=4, acs=24)
WHERE = "the server of the self test"


def reconstruct_over_socket(settings: Settings, seconds: float) -> tuple[int, int]:
    """Return the lines that were sent, and the fallback images among the one image that came.

    Raises
    ------
    ServerFailure
        The server reports an error, does not answer in time, or returns no image.
    """
    server = Server(settings, make_engine, port=0, grace=0.0)
    thread = threading.Thread(target=server.run, name="self test", daemon=True)
    thread.start()
    try:
        return _exchange(server.addresses[0][1], seconds)
    finally:
        server.stop()
        thread.join(seconds)


def _exchange(port: int, seconds: float) -> tuple[int, int]:
    made = simulate_scan(SCAN)
    heads, data = made.lines.heads, made.lines.data
    with connect("127.0.0.1", port, seconds) as sock:
        stream = Stream(sock)
        stream.write(config_message(b"<configuration/>") + header_message(made.header_xml.encode()))
        for head, samples in zip(heads, data, strict=True):
            message = head.tobytes() + samples.tobytes()
            stream.write(UINT16.pack(Id.ACQUISITION) + message)
        stream.write(CLOSE)
        n_images = n_fallback = 0
        for item in receive_messages(stream, WHERE, seconds):
            if isinstance(item, Text):
                raise ServerFailure(item.text.removeprefix("ERROR "))
            if isinstance(item, ForwardedMessage) and item.id == Id.IMAGE:
                n_images += 1
                n_fallback += is_fallback(received_image(item, WHERE).meta)
    if n_images != 1:
        raise ServerFailure(f"{n_images} images came back, expected 1")
    return len(heads), n_fallback
