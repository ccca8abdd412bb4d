"""`jrsr send`: sends a scan to a Gadgetron or MRD server and writes the images it returns."""

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd.hdf5 import image_header_dtype

from gadget.console import print_line, print_warning, progress
from gadget.errors import Exit, UsageError, describe
from gadget.inputs import check_inputs_stay
from gadget.server.chain_edit import with_properties
from gadget.server.protocol.connection import CLOSE, CONFIG_FILE_BYTES, Message, read_payload
from gadget.server.protocol.messages import (
    WAVEFORM_HEAD,
    ForwardedMessage,
    Text,
    config_message,
    decode,
    header_message,
    text_message,
)
from gadget.server.protocol.wire import (
    UINT16,
    UINT64,
    Id,
    PeerDisconnected,
    ProtocolError,
    Stream,
    shut_down,
)
from jrsr_core.common.atomic import check_target
from jrsr_core.common.os_errors import reason
from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.files.image_writer import ImageWriter
from jrsr_core.mrd.files.other_groups import other_scans_note
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.header.xml import parse_xml
from jrsr_core.mrd.images import is_fallback
from jrsr_core.mrd.lines.acquired import HEAD_DTYPE

CONNECT_SECONDS = 10.0

log = logging.getLogger(__name__)


class ServerFailure(ConnectionError):
    """The server reported an error, or returned nothing."""


@dataclass(frozen=True)
class SendRequest:
    """What to send, and where.

    Attributes
    ----------
    chain
        File of a chain, which is sent as it is, or with `parameters` in it.
    config
        Without a chain: name of a configuration of the server.
    parameters
        Settings; without a chain they are sent as JSON text, which MRD servers understand.
    timeout
        Seconds without data from the server; 0 for no timeout.
    dataset
        Group of the file to send; empty for ``dataset``, or the only one.
    """

    scan: Path
    output: Path
    host: str = "127.0.0.1"
    port: int = 18000
    chain: Path | None = None
    config: str = "jrsr"
    parameters: dict[str, str] = field(default_factory=dict)
    timeout: float = 600.0
    overwrite: bool = False
    dataset: str = ""


def send_scan(request: SendRequest) -> Exit:
    """Send a scan and write the images that come back; return the exit code.

    Raises
    ------
    UsageError, FileNotFoundError, FileExistsError, BadScan
        The scan or the chain cannot be read, or the output may not be written.
    ServerFailure
        The server does not answer, reports an error, or returns no image; no output is left then.
    """
    check_target(request.output, overwrite=request.overwrite)
    check_inputs_stay([request.output], [request.scan, request.chain])
    config, start = _config(request), time.perf_counter()
    with (
        _opened(request) as scan,
        connect(request.host, request.port, request.timeout) as sock,
    ):
        opening = config + header_message(scan.header.xml.encode())
        if request.parameters and request.chain is None:
            opening += text_message(json.dumps({"parameters": request.parameters}))
        sender = threading.Thread(
            target=_send, args=(sock, opening, scan), name="sender", daemon=True
        )
        sender.start()
        try:
            n_images, n_fallback = _receive(sock, scan, request)
        finally:
            # The sending thread reads from the file.
            shut_down(sock)
            sender.join()
    seconds = time.perf_counter() - start
    note = f", {n_fallback} of them fallback images" if n_fallback else ""
    print_line(
        f"{request.scan.name}: {n_images} images{note} in {seconds:.1f} s -> {request.output}"
    )
    return Exit.FALLBACK if n_fallback else Exit.DONE


def _opened(request: SendRequest) -> ScanFile:
    try:
        scan = ScanFile(request.scan, dataset=request.dataset)
    except (BadScan, UnsupportedScan) as error:
        raise type(error)(f"{request.scan.name}: {error}") from None
    if not request.dataset and (note := other_scans_note(scan)):
        print_warning(f"{request.scan.name}: warning: {note}")
    return scan


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """Return a connection; raises `ServerFailure` if there is no server."""
    try:
        sock = socket.create_connection((host, port), CONNECT_SECONDS)
    except OSError as error:
        raise ServerFailure(f"no connection to {host} port {port}: {reason(error)}") from None
    sock.settimeout(timeout or None)
    return sock


def _config(request: SendRequest) -> bytes:
    """Return the configuration message."""
    if request.chain is not None:
        if not request.chain.is_file():
            raise FileNotFoundError(f"chain {request.chain}: no such file")
        text = request.chain.read_bytes()
        # Gadgetron takes no texts: settings have to be in the chain.
        return config_message(
            with_properties(text, request.parameters) if request.parameters else text
        )
    name = request.config.encode("utf-8")
    if len(name) >= CONFIG_FILE_BYTES:
        raise UsageError(f"config name has {len(name)} bytes, at most {CONFIG_FILE_BYTES - 1}")
    if request.parameters and request.config.endswith(".xml"):
        print_warning(
            f"warning: if the server is a Gadgetron, {request.config} does not get the settings: "
            "send the chain itself with --chain"
        )
    return UINT16.pack(Id.CONFIG_FILE) + name.ljust(CONFIG_FILE_BYTES, b"\0")


def _send(sock: socket.socket, opening: bytes, scan: ScanFile) -> None:
    """Send everything; if the server disconnects, the receiving thread reports why."""
    stream = Stream(sock)
    try:
        stream.write(opening)
        for message in chain(_lines(scan), _waveforms(scan)):
            stream.write(message)
        stream.write(CLOSE)
    except PeerDisconnected as error:
        log.debug("sending stopped: %s", error)
    except Exception as error:
        print_warning(f"{scan.path.name}: {error}")
        shut_down(sock)


def _lines(scan: ScanFile) -> Iterator[bytes]:
    """Yield ACQUISITION messages in the order of the file."""
    number = UINT16.pack(Id.ACQUISITION)
    for rows in scan.blocks():
        heads = rows["head"].astype(HEAD_DTYPE)
        for head, row in zip(heads, rows, strict=True):
            parts = (np.asarray(row[name], "<f4").tobytes() for name in ("traj", "data"))
            yield b"".join((number, head.tobytes(), *parts))


def _waveforms(scan: ScanFile) -> Iterator[bytes]:
    """Yield WAVEFORM messages."""
    number = UINT16.pack(Id.WAVEFORM)
    for row in scan.waveforms():
        head = np.zeros(1, WAVEFORM_HEAD)
        for name in WAVEFORM_HEAD.names or ():
            head[name] = row["head"][name]
        yield b"".join((number, head.tobytes(), np.asarray(row["data"], "<u4").tobytes()))


def _receive(sock: socket.socket, scan: ScanFile, request: SendRequest) -> tuple[int, int]:
    """Write images until CLOSE; return how many came, and how many are fallback images."""
    n_images = n_fallback = 0
    with (
        ImageWriter(request.output, scan.header.xml, overwrite=request.overwrite) as writer,
        progress(None, scan.path.name) as tick,
    ):
        where = f"{request.host} port {request.port}"
        for item in receive_messages(Stream(sock), where, request.timeout):
            if isinstance(item, ForwardedMessage) and item.id == Id.IMAGE:
                image = received_image(item, scan.path.name)
                n_fallback += is_fallback(image.meta)
                n_images += 1
                writer.write(image)
                tick()
            elif isinstance(item, Text):
                if "ERROR" in item.text:
                    raise ServerFailure(f"{scan.path.name}: the server failed: {item.text}")
                print_warning(f"server: {item.text}")
        if not n_images:
            raise ServerFailure(f"{scan.path.name}: the server returned no image")
    return n_images, n_fallback


def received_image(message: ForwardedMessage, name: str) -> ismrmrd.Image:
    """Return the image of a message; raises `ServerFailure` with `name` if it cannot be read."""
    try:
        _check_attributes(message.payload)
        return ismrmrd.Image.deserialize_from(BytesIO(message.payload).read)
    except Exception as error:
        text = f"{name}: an image of the server cannot be read: {describe(error)}"
        raise ServerFailure(text) from None


def _check_attributes(payload: bytes | bytearray) -> None:
    """Raise `XmlError` if the attributes of an image are XML that must not be parsed."""
    start = image_header_dtype.itemsize + UINT64.size
    (n_bytes,) = UINT64.unpack_from(payload, image_header_dtype.itemsize)
    text = bytes(payload[start : start + n_bytes]).rstrip(b"\0")
    if text.strip():
        parse_xml(text)


def receive_messages(stream: Stream, where: str, timeout: float) -> Iterator[Message]:
    """Yield the messages of a server until CLOSE; ERROR becomes a text that begins with that word.

    Parameters
    ----------
    where
        Name of the server, for errors.
    timeout
        Seconds without data after which the socket gives up.

    Raises
    ------
    ServerFailure
        No data in time, a disconnect, or a message that cannot be understood.
    """
    while True:
        try:
            number = stream.number(UINT16)
            if number == Id.CLOSE:
                return
            if number == Id.ERROR:
                text = stream.sized("error", UINT64, stream.limits.text)
                yield Text(f"ERROR {decode(text)}")
            else:
                yield read_payload(number, stream)
        except TimeoutError:
            raise ServerFailure(f"{where}: no data for {timeout:g} s") from None
        except (PeerDisconnected, ProtocolError) as error:
            raise ServerFailure(f"{where}: {error}") from None
