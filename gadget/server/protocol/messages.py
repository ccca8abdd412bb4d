"""Messages as values: those that are used are decoded, the others are kept as they came."""

from dataclasses import dataclass, field
from struct import Struct

import ismrmrd
import numpy as np
from ismrmrd.hdf5 import image_header_dtype, waveform_header_dtype

from jrsr_core.mrd.lines.acquired import HEAD_DTYPE, LineList, line_bytes

from .wire import UINT16, UINT32, UINT64, Id, ProtocolError, Stream, checked

WAVEFORM_HEAD = np.dtype(
    [(name, waveform_header_dtype[name]) for name in waveform_header_dtype.names or ()], align=True
)
"""Layout of the C++ structure: 40 bytes."""

MESSAGE_BYTES = 500
"""Memory of a message beyond its payload, also of an empty one."""

PIXEL_BYTES = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4, 6: 8, 7: 8, 8: 16}
"""Size of a pixel by `data_type`."""


@dataclass(frozen=True, eq=False)
class ForwardedMessage:
    """A message that is not used here and is forwarded byte for byte."""

    id: int
    payload: bytes | bytearray

    @property
    def n_bytes(self) -> int:
        """Size in memory."""
        return len(self.payload)

    def to_bytes(self) -> bytes:
        """Return the whole message."""
        return UINT16.pack(self.id) + bytes(self.payload)


@dataclass(frozen=True, eq=False)
class Lines:
    """Acquired lines: one, or those of a bucket with its waveforms."""

    lines: LineList
    waveforms: list[ForwardedMessage] = field(default_factory=list)
    is_bucket: bool = False

    @property
    def n_bytes(self) -> int:
        """Size in memory."""
        return line_bytes(self.lines.data) + sum(w.n_bytes for w in self.waveforms)


@dataclass(frozen=True)
class Text:
    """A text and its size on the wire."""

    text: str
    n_bytes: int = 0


@dataclass(frozen=True)
class Query:
    """A question; the answer carries its `correlation` number."""

    correlation: int
    text: str
    n_bytes: int = 0


def read_text(stream: Stream) -> Text:
    """Read the payload of TEXT."""
    data = stream.sized("text", UINT32, stream.limits.text)
    return Text(decode(data), len(data))


def read_query(stream: Stream) -> Query:
    """Read the payload of QUERY: reserved, correlation, text."""
    stream.number(UINT64)
    correlation = stream.number(UINT64)
    data = stream.sized("query", UINT64, stream.limits.text)
    return Query(correlation, decode(data), len(data))


def read_acquisition(stream: Stream) -> Lines:
    """Read the payload of one acquisition: header, trajectory, samples ``[coil][sample]``."""
    heads = np.frombuffer(stream.read(HEAD_DTYPE.itemsize), HEAD_DTYPE)
    names = ("active_channels", "number_of_samples", "trajectory_dimensions")
    n_coils, n_samples, n_dims = (int(heads[0][name]) for name in names)
    checked("acquisition", n_samples * (8 * n_coils + 4 * n_dims), stream.limits.line)
    # A Cartesian reconstruction has no use for the trajectory.
    stream.read(4 * n_samples * n_dims)
    data = np.frombuffer(stream.read(8 * n_coils * n_samples), "<c8")
    return Lines(LineList(heads, [data.reshape(n_coils, n_samples)]))


def read_waveform(stream: Stream) -> ForwardedMessage:
    """Read the payload of one waveform."""
    head = stream.read(WAVEFORM_HEAD.itemsize)
    n_bytes = checked("waveform", waveform_bytes(head), stream.limits.line)
    return ForwardedMessage(Id.WAVEFORM, head + stream.read(n_bytes))


def waveform_bytes(head: bytes | bytearray) -> int:
    """Return the size of the samples that belong to a header."""
    fields = np.frombuffer(head, WAVEFORM_HEAD, count=1)[0]
    return 4 * int(fields["channels"]) * int(fields["number_of_samples"])


def read_image(stream: Stream) -> ForwardedMessage:
    """Read the payload of one image: header, meta attributes, pixels."""
    head = stream.read(image_header_dtype.itemsize)
    fields = np.frombuffer(head, image_header_dtype)[0]
    kind = int(fields["data_type"])
    if kind not in PIXEL_BYTES:
        raise ProtocolError(f"image has data_type {kind}, known: {min(PIXEL_BYTES)} to 8")
    shape = (*fields["matrix_size"].tolist(), int(fields["channels"]))
    n_pixels = int(np.prod(shape, dtype=object))
    n_meta = checked("image attributes", stream.number(UINT64), stream.limits.text)
    n_bytes = checked("image", n_pixels * PIXEL_BYTES[kind], stream.limits.message)
    return ForwardedMessage(Id.IMAGE, head + UINT64.pack(n_meta) + stream.read(n_meta + n_bytes))


def image_message(image: ismrmrd.Image) -> bytes:
    """Return a whole IMAGE message, pixels in the order x fastest, then y, z, channel."""
    head = image.getHead()
    pixels = np.ascontiguousarray(image.data)
    wanted = (head.channels, *reversed(list(head.matrix_size)))
    if pixels.shape != wanted:
        raise ValueError(f"image has pixels {pixels.shape}, its header says {wanted}")
    meta = image.attribute_string.encode("utf-8")
    head.attribute_string_len = len(meta)
    parts = (UINT16.pack(Id.IMAGE), bytes(head), UINT64.pack(len(meta)), meta)
    return b"".join(parts) + pixels.tobytes()


def text_message(text: str) -> bytes:
    """Return a TEXT message."""
    return _message(Id.TEXT, UINT32, text.encode("utf-8"))


def config_message(text: bytes) -> bytes:
    """Return a CONFIG message."""
    return _message(Id.CONFIG, UINT32, text)


def header_message(xml: bytes) -> bytes:
    """Return a HEADER message."""
    return _message(Id.HEADER, UINT32, xml)


def error_message(text: str) -> bytes:
    """Return an ERROR message, which only Gadgetron understands; its length has 64 bits."""
    return _message(Id.ERROR, UINT64, text.encode("utf-8"))


def response_message(correlation: int, text: str) -> bytes:
    """Return the answer to a query."""
    data = text.encode("utf-8")
    head = UINT16.pack(Id.RESPONSE) + UINT64.pack(correlation)
    return head + UINT64.pack(len(data)) + data


def _message(number: Id, length: Struct, data: bytes) -> bytes:
    return UINT16.pack(number) + length.pack(len(data)) + data


def decode(data: bytes | bytearray) -> str:
    """Return the text of any peer; some end it with NUL, some use a local encoding."""
    return bytes(data).decode("utf-8", errors="replace").rstrip("\0")
