"""What reads the bytes of strangers: per target good inputs and allowed errors.

A target takes bytes and returns, or raises one of `refusals`; anything else is a crash. The test in
CI and the long run (`python -m tests.benchmarks.fuzz`) share them.
"""

import atexit
import contextlib
import io
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import numpy as np
from ismrmrd import Dataset, Image, Meta

from gadget.configuration import parameters_of, properties_of
from gadget.errors import ScanError, UsageError
from gadget.offline.convert import convert_images
from gadget.scan.stages import live_scan, make_assembler
from gadget.server.protocol.connection import Handshake, read_payload
from gadget.server.protocol.messages import Lines
from gadget.server.protocol.wire import (
    UINT16,
    Id,
    PeerDisconnected,
    ProtocolError,
    Stream,
    WireLimits,
)
from gadget.settings import Settings
from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.files.sandbox import Sandbox, SandboxedScan
from jrsr_core.mrd.files.sandbox_process import SandboxLimits
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.weights.card import CardError
from jrsr_core.weights.load import load_weights
from jrsr_core.weights.sets import shipped_folder
from tests.helpers import layouts, messages
from tests.helpers.commands import write_small_scan
from tests.helpers.mrd_scans import noise_samples, small_scan

LIMITS = WireLimits(config=2**16, text=2**16, line=2**18, message=2**20, scan=2**22)


@dataclass(frozen=True)
class Target:
    """Something that reads bytes; `seeds` are good ones."""

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    refusals: tuple[type[Exception], ...]

    def answer(self, data: bytes) -> str:
        """Return "read" or the refusal; a crash raises."""
        try:
            self.run(data)
        except self.refusals as error:
            text = str(error)
            assert text and "\n" not in text, f"not one line: {text!r}"
            return type(error).__name__
        return "read"


class Pipe:
    """A connected socket that gives the bytes and then ends."""

    def __init__(self, data: bytes) -> None:
        near, self.far = socket.socketpair()
        self.far.settimeout(20.0)
        self._thread = threading.Thread(target=self._send, args=(near, data), daemon=True)
        self._thread.start()

    @staticmethod
    def _send(near: socket.socket, data: bytes) -> None:
        with near:
            try:
                near.sendall(data)
                near.shutdown(socket.SHUT_WR)
                near.recv(1)
            except OSError:
                pass

    def __enter__(self) -> socket.socket:
        return self.far

    def __exit__(self, *_: object) -> None:
        self.far.close()
        self._thread.join()


def conversation(data: bytes) -> None:
    """A whole conversation: configuration, header, messages, and the plan of what came."""
    with Pipe(data) as sock:
        peer = Handshake(Stream(sock, LIMITS)).run()
        settings = Settings(device="cpu").override(properties_of(peer.config))
        scan = live_scan(parse_header(peer.header), settings)
        while (item := peer.receive()) is not None:
            if isinstance(item, Lines):
                for task in scan.add(item.lines, is_bucket=item.is_bucket):
                    task.assemble()
        for task in scan.finish():
            task.assemble()


def one_message(data: bytes) -> None:
    """One message of any kind."""
    with Pipe(data) as sock:
        stream = Stream(sock, LIMITS)
        number = stream.number(UINT16)
        if number != Id.CLOSE:
            read_payload(number, stream)


def file(data: bytes) -> None:
    """An ISMRMRD file: plan, lines, and the k-space of every image."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.h5"
        path.write_bytes(data)
        with SandboxedScan(path, sandbox()) as scan:
            plan = plan_scan(scan.header, scan.heads)
            for _ in make_assembler(scan, plan, Settings(device="cpu")):
                pass


@cache
def sandbox() -> Sandbox:
    """The sandbox that reads all files of this process; an answer may take 2 s."""
    made = Sandbox(SandboxLimits(answer=2.0))
    atexit.register(made.close)
    return made


def images(data: bytes) -> None:
    """A file of images, converted into DICOM and NIfTI."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.h5"
        path.write_bytes(data)
        with contextlib.redirect_stdout(io.StringIO()):
            convert_images(path, None, ["dicom", "nifti"], sandbox=sandbox())


def card(data: bytes) -> None:
    """A card; its weights are those of the package."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "card.json"
        path.write_bytes(data)
        weights = "jrsr_compact.safetensors"
        (Path(folder) / weights).symlink_to(shipped_folder() / weights)
        load_weights(path)


def parameters(data: bytes) -> None:
    """Parameters of an MRD client, applied to the settings."""
    Settings(**parameters_of(data.decode("utf-8", errors="replace")))


def configuration(data: bytes) -> None:
    """A configuration text, applied to the settings."""
    Settings(**properties_of(data))


@cache
def _scan() -> tuple[str, object]:
    _, _, xml, lines = small_scan((16, 16), n_coils=3, n_acs=12, noise=noise_samples(3, 64))
    return xml, lines


def conversations() -> list[bytes]:
    xml, lines = _scan()
    opening = layouts.config(layouts.properties(model="cg-sense+sinc")) + layouts.header(xml)
    pairs = list(zip(lines.heads, lines.data, strict=True))
    alone = b"".join(layouts.acquisition(*pair) for pair in pairs)
    bucket = layouts.bucket(pairs, (), messages.some_waveforms(), n_spaces=2)
    client = layouts.config_file("jrsr") + layouts.text('{"parameters": {}}') + layouts.header(xml)
    close = layouts.close()
    return [opening + alone + close, opening + bucket + close, client + alone + close]


def files() -> list[bytes]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.h5"
        write_small_scan(path, shape=(16, 16), n_coils=3, noise=noise_samples(3, 64))
        found.append(path.read_bytes())
        with h5py.File(path) as source, h5py.File(other := Path(folder) / "o.h5", "w") as target:
            rows = source["dataset/data"]
            target["dataset/xml"] = source["dataset/xml"][()]
            options = {"chunks": (8,), "compression": "gzip", "shuffle": True}
            target.create_dataset("dataset/data", data=rows[()], dtype=rows.dtype, **options)
        found.append(other.read_bytes())
    return found


def image_files() -> list[bytes]:
    made = Image.from_array(np.arange(48, dtype=np.float32).reshape(6, 8), transpose=False)
    made.field_of_view = (160, 120, 5)
    made.read_dir, made.phase_dir, made.slice_dir = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    made.meta = Meta({"SeriesDescription": "jrsr", "WindowCenter": "3"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.h5"
        with Dataset(str(path)) as dataset:
            dataset.write_xml_header(_scan()[0])
            for name in ("image_0", "image_0", "image_1"):
                dataset.append_image(name, made)
        return [path.read_bytes()]


def configurations() -> list[bytes]:
    chain = f"<gadgetronStreamConfiguration><stream><external>{layouts.properties(crop=0.5)[22:]}"
    chain += "</external></stream></gadgetronStreamConfiguration>"
    nested = "<configuration><property><name>model</name><value>jrsr</value></property>"
    made = [layouts.properties(model="jrsr", crop=0.5, prewhiten=True), chain]
    return [text.encode() for text in (*made, nested + "</configuration>", '{"parameters": {}}')]


SPECIAL_PARAMETERS = [
    b'{"parameters": {"model": "jrsr", "crop": 0.5, "batch_size": 2, "prewhiten": false}}',
    b'{"crop": "0.5", "time_limit": 1e3, "trigger": "slice", "config": "openrecon"}',
]

STREAM_ERRORS = (ProtocolError, PeerDisconnected)
SCAN_ERRORS = (BadScan, UnsupportedScan)

TARGETS = {
    "stream": Target(conversation, conversations, (*STREAM_ERRORS, *SCAN_ERRORS, UsageError)),
    "message": Target(one_message, lambda: list(messages.all_messages().values()), STREAM_ERRORS),
    "file": Target(file, files, SCAN_ERRORS),
    "images": Target(images, image_files, (ScanError,)),
    "header": Target(parse_header, lambda: [_scan()[0].encode()], (BadScan,)),
    "configuration": Target(configuration, configurations, (UsageError,)),
    "parameters": Target(parameters, lambda: SPECIAL_PARAMETERS, (UsageError,)),
    "card": Target(
        card, lambda: [(shipped_folder() / "jrsr_compact.json").read_bytes()], (CardError,)
    ),
}

BOUNDARIES = [
    struct.pack("<Q", n) for n in (0, 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
]
WORDS = [
    b"nan",
    b"inf",
    b"-1",
    b"1e400",
    b"9" * 40,
    b"null",
    b"[]",
    b"\0",
    b"\xff\xfe",
    b"<",
    b"&x;",
]


def spoilt(data: bytes, random: np.random.Generator) -> bytes:
    """Return the bytes with one to four things gone wrong."""
    made = bytearray(data)
    for _ in range(random.integers(1, 5)):
        at = int(random.integers(0, max(len(made), 1)))
        match int(random.integers(0, 8)):
            case 0 | 1:
                made[at : at + 1] = bytes(
                    [made[at] ^ 1 << int(random.integers(0, 8))] if made else []
                )
            case 2:
                made[at : at + 1] = random.bytes(1)
            case 3 | 4:
                word = BOUNDARIES[random.integers(0, len(BOUNDARIES))]
                made[at : at + 8] = word[: int(2 ** random.integers(0, 4))]
            case 5:
                n = int(random.integers(1, 64))
                if random.integers(0, 2):
                    del made[at : at + n]
                else:
                    made[at:at] = made[at : at + n]
            case 6:
                word = WORDS[random.integers(0, len(WORDS))]
                made[at : at + len(word)] = word
            case 7:
                if random.integers(0, 4) == 0:
                    del made[at:]
    return bytes(made)
