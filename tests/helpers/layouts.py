"""The documented layouts of Gadgetron's messages, written down a second time.

Only numpy and struct, and nothing of ours: what the plugin reads and writes is held against this.
"""

import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

CONFIG_FILE, CONFIG, HEADER, CLOSE, TEXT, QUERY, RESPONSE, ERROR = range(1, 9)
ACQUISITION, IMAGE, RECON_DATA, IMAGE_ARRAY, WAVEFORM, BUCKET = 1008, 1022, 1023, 1024, 1026, 1050
ARRAY = 1030
"""Of ISMRMRD's streams; Gadgetron does not know it."""

COUNTERS = ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast")
COUNTERS += ("phase", "repetition", "set", "segment")
IN_STATISTICS = ("kspace_encode_step_1", "kspace_encode_step_2", "slice", "phase", "contrast")
IN_STATISTICS += ("repetition", "set", "segment", "average")
PLACE = [
    (name, "<f4", (3,))
    for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position")
]
USER = [("user_int", "<i4", (8,)), ("user_float", "<f4", (8,))]
IDX = [(name, "<u2") for name in COUNTERS]
ACQUISITION_HEAD = np.dtype(
    [
        *[("version", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4")],
        *[("scan_counter", "<u4"), ("acquisition_time_stamp", "<u4")],
        *[("physiology_time_stamp", "<u4", (3,)), ("number_of_samples", "<u2")],
        *[("available_channels", "<u2"), ("active_channels", "<u2")],
        *[("channel_mask", "<u8", (16,)), ("discard_pre", "<u2"), ("discard_post", "<u2")],
        *[("center_sample", "<u2"), ("encoding_space_ref", "<u2")],
        *[("trajectory_dimensions", "<u2"), ("sample_time_us", "<f4"), *PLACE],
        *[("idx", [*IDX, ("user", "<u2", (8,))]), *USER],
    ]
)
IMAGE_HEAD = np.dtype(
    [
        *[("version", "<u2"), ("data_type", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4")],
        *[("matrix_size", "<u2", (3,)), ("field_of_view", "<f4", (3,)), ("channels", "<u2")],
        *PLACE,
        *[(name, "<u2") for name in ("average", "slice", "contrast", "phase", "repetition", "set")],
        *[("acquisition_time_stamp", "<u4"), ("physiology_time_stamp", "<u4", (3,))],
        *[(name, "<u2") for name in ("image_type", "image_index", "image_series_index")],
        *[*USER, ("attribute_string_len", "<u4")],
    ]
)
WAVEFORM_HEAD = struct.Struct("<H6xQIIIHHfH2x")
PIXELS = {1: "<u2", 2: "<i2", 3: "<u4", 4: "<i4", 5: "<f4", 6: "<f8", 7: "<c8", 8: "<c16"}


def u16(number: int) -> bytes:
    return struct.pack("<H", number)


def u64(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def with_length(number: int, text: bytes | str, kind: str = "<I") -> bytes:
    """A message that is a text behind its length."""
    data = text.encode() if isinstance(text, str) else text
    return u16(number) + struct.pack(kind, len(data)) + data


def config_file(name: str) -> bytes:
    return u16(CONFIG_FILE) + name.encode().ljust(1024, b"\0")


def config(text: bytes | str) -> bytes:
    return with_length(CONFIG, text)


def properties(**values: object) -> str:
    """The configuration of an external node."""
    inner = "".join(f'<property name="{k}" value="{v}"/>' for k, v in values.items())
    return f'<?xml version="1.0"?>\n<configuration>{inner}</configuration>'


def header(xml: bytes | str) -> bytes:
    return with_length(HEADER, xml)


def text(words: bytes | str) -> bytes:
    return with_length(TEXT, words)


def query(correlation: int, words: str) -> bytes:
    return u16(QUERY) + u64(0, correlation, len(words)) + words.encode()


def close() -> bytes:
    return u16(CLOSE)


def line_bytes(head: np.void, data: np.ndarray) -> tuple[bytes, bytes, bytes]:
    """Head, trajectory and samples; the trajectory of a line that has one is all ones."""
    record = np.zeros((), ACQUISITION_HEAD)
    for name in ACQUISITION_HEAD.names:
        record[name] = head[name]
    n = int(head["number_of_samples"]) * int(head["trajectory_dimensions"])
    return record.tobytes(), np.ones(n, "<f4").tobytes(), np.asarray(data, "<c8").tobytes()


def acquisition(head: np.void, data: np.ndarray) -> bytes:
    return u16(ACQUISITION) + b"".join(line_bytes(head, data))


def waveform_parts(data: np.ndarray, waveform_id: int = 0) -> tuple[bytes, bytes]:
    channels, samples = data.shape
    head = WAVEFORM_HEAD.pack(1, 0, 7, 1, 100, samples, channels, 2500.0, waveform_id)
    return head, np.asarray(data, "<u4").tobytes()


def waveform(data: np.ndarray, waveform_id: int = 0) -> bytes:
    return u16(WAVEFORM) + b"".join(waveform_parts(data, waveform_id))


def image(pixels: np.ndarray, meta: bytes = b"", **fields: object) -> bytes:
    """An image of pixels ``(channel, z, y, x)`` as Gadgetron sends it: attributes end with NUL."""
    head = np.zeros((), IMAGE_HEAD)
    kinds = {np.dtype(kind): number for number, kind in PIXELS.items()}
    head["version"], head["data_type"] = 1, kinds[pixels.dtype]
    head["channels"], head["matrix_size"] = pixels.shape[0], pixels.shape[:0:-1]
    for name, value in fields.items():
        head[name] = value
    meta = meta + b"\0" if meta else b""
    return u16(IMAGE) + head.tobytes() + u64(len(meta)) + meta + pixels.tobytes()


def bucket(
    data: Sequence = (), reference: Sequence = (), waveforms: Sequence = (), n_spaces: int = 1
) -> bytes:
    """A bucket of ``(head, samples)`` and waveforms; of several spaces all but 0 are empty."""
    parts = [[line_bytes(*line) for line in lines] for lines in (data, reference)]
    sizes = [(len(p), *(sum(len(x[i]) for x in p) for i in (0, 2, 1))) for p in parts]
    statistics = [_statistics(lines, n_spaces) for lines in (data, reference)]
    waves = [waveform_parts(w, i) for i, w in enumerate(waveforms)]
    wave_sizes = (len(waves), *(sum(len(w[i]) for w in waves) for i in (0, 1)))
    message = u16(BUCKET) + u64(*sizes[0], *sizes[1], *map(len, statistics), *wave_sizes)
    for part, sets in zip(parts, statistics, strict=True):
        message += b"".join(line[i] for i in (0, 1, 2) for line in part) + sets
    return message + b"".join(w[i] for i in (0, 1) for w in waves)


def _statistics(lines: Sequence, n_spaces: int) -> bytes:
    made = u64(n_spaces)
    for space in range(n_spaces):
        for name in IN_STATISTICS:
            values = sorted({int(h["idx"][name]) for h, _ in lines}) if space == 0 else []
            made += u64(len(values)) + struct.pack(f"<{len(values)}H", *values)
    return made


def array(values: np.ndarray) -> bytes:
    """A column-major array behind its sizes; zero dimensions have no element."""
    if values.ndim == 0:
        return u64(0)
    return u64(values.ndim, *values.shape) + values.tobytes(order="F")


def optional(value: np.ndarray | None, write: Callable = array) -> bytes:
    return b"\0" if value is None else b"\1" + write(value)


def recon_buffer(data: np.ndarray, trajectory: np.ndarray | None = None) -> bytes:
    """Buffered data ``[E0,E1,E2,CHA,N,S,LOC]``; without dimensions that of an unused space."""
    is_empty = data.ndim == 0
    heads = np.zeros((), ACQUISITION_HEAD)
    if not is_empty:
        heads = np.zeros((*data.shape[1:3], *data.shape[4:]), ACQUISITION_HEAD)
    density = None if trajectory is None else np.ones(trajectory.shape[1:], "<f4")
    sampling = struct.pack("<6f15H2x", *[200.0] * 6, *range(15))
    return array(data) + optional(trajectory) + optional(density) + array(heads) + sampling


def recon_data(*bits: tuple[bytes, bytes | None]) -> bytes:
    """Per encoding space a buffer, and one of the reference or None."""
    made = [data + (b"\0" if ref is None else b"\1" + ref) for data, ref in bits]
    return u16(RECON_DATA) + u64(len(bits)) + b"".join(made)


def image_array(
    data: np.ndarray, meta: Sequence[str], waveforms: Sequence | None = None, heads: bool = True
) -> bytes:
    """Images ``[X,Y,Z,CHA,N,S,LOC]`` with one head and one text for each."""
    image_heads = np.zeros(data.shape[4:], IMAGE_HEAD)
    lines = np.zeros((*data.shape[1:3], *data.shape[4:]), ACQUISITION_HEAD) if heads else None
    texts = b"".join(u64(len(m.encode())) + m.encode() for m in meta)

    def waves(parts: Sequence) -> bytes:
        return u64(len(parts)) + b"".join(b"".join(waveform_parts(w)) for w in parts)

    made = array(data) + array(image_heads) + u64(len(meta)) + texts
    return u16(IMAGE_ARRAY) + made + optional(waveforms, waves) + optional(lines)


@dataclass
class Answer:
    """What came back: `ids` of all messages in order, and their contents by kind."""

    ids: list[int] = field(default_factory=list)
    images: list["Image"] = field(default_factory=list)
    waveforms: list[bytes] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    responses: list[tuple[int, str]] = field(default_factory=list)
    arrays: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def is_closed(self) -> bool:
        """Whether the last message was CLOSE, and the only one."""
        return self.ids[-1:] == [CLOSE] and self.ids.count(CLOSE) == 1

    @property
    def fallbacks(self) -> list["Image"]:
        """Images that say that the model had no part in them."""
        return [i for i in self.images if i.attribute("JRSR_fallback")]


@dataclass
class Image:
    """One image as it came over the wire."""

    raw: bytes
    head: np.void
    meta: str
    pixels: np.ndarray

    def attribute(self, name: str) -> str:
        """First value of an attribute; empty if there is none."""
        metas = ET.fromstring(self.meta.encode()).iter("meta")
        return next((m.findtext("value") or "" for m in metas if m.findtext("name") == name), "")


def receive(read: Callable[[int], bytes], answer: Answer) -> Answer:
    """Decode what one of our processes sends, until CLOSE; `read` raises EOFError."""
    while not answer.is_closed:
        (number,) = struct.unpack("<H", read(2))
        if number == IMAGE:
            answer.images.append(_image(read))
        elif number in (TEXT, ERROR):
            kind = "<I" if number == TEXT else "<Q"
            (n,) = struct.unpack(kind, read(struct.calcsize(kind)))
            (answer.texts if number == TEXT else answer.errors).append(read(n).decode())
        elif number == WAVEFORM:
            head = read(WAVEFORM_HEAD.size)
            *_, samples, channels, _, _ = WAVEFORM_HEAD.unpack(head)
            answer.waveforms.append(head + read(4 * samples * channels))
        elif number == RESPONSE:
            correlation, n = struct.unpack("<2Q", read(16))
            answer.responses.append((correlation, read(n).decode()))
        elif number in (RECON_DATA, IMAGE_ARRAY):
            raw = bytearray()
            _SKIP[number](lambda n, raw=raw: raw.extend(part := read(n)) or part)
            answer.arrays.append((number, bytes(raw)))
        elif number != CLOSE:
            raise AssertionError(f"message id {number} came")
        answer.ids.append(number)
    return answer


def _image(read: Callable[[int], bytes]) -> Image:
    raw_head = read(IMAGE_HEAD.itemsize)
    head = np.frombuffer(raw_head, IMAGE_HEAD)[0]
    (n,) = struct.unpack("<Q", read(8))
    meta = read(n)
    kind = np.dtype(PIXELS[int(head["data_type"])])
    shape = (int(head["channels"]), *head["matrix_size"][::-1].tolist())
    raw = read(kind.itemsize * int(np.prod(shape)))
    pixels = np.frombuffer(raw, kind).reshape(shape)
    return Image(raw_head + u64(n) + meta + raw, head, meta.rstrip(b"\0").decode(), pixels)


def _skip_array(read: Callable[[int], bytes], size: int) -> None:
    (n_dims,) = struct.unpack("<Q", read(8))
    sizes = struct.unpack(f"<{n_dims}Q", read(8 * n_dims))
    read(size * int(np.prod(sizes)) if n_dims else 0)


def _skip_buffer(read: Callable[[int], bytes]) -> None:
    _skip_array(read, 8)
    for _ in range(2):
        if read(1) == b"\1":
            _skip_array(read, 4)
    _skip_array(read, 340)
    read(56)


def _skip_recon_data(read: Callable[[int], bytes]) -> None:
    for _ in range(struct.unpack("<Q", read(8))[0]):
        _skip_buffer(read)
        if read(1) == b"\1":
            _skip_buffer(read)


def _skip_image_array(read: Callable[[int], bytes]) -> None:
    _skip_array(read, 8)
    _skip_array(read, 198)
    for _ in range(struct.unpack("<Q", read(8))[0]):
        read(*struct.unpack("<Q", read(8)))
    if read(1) == b"\1":
        for _ in range(struct.unpack("<Q", read(8))[0]):
            *_, samples, channels, _, _ = WAVEFORM_HEAD.unpack(read(WAVEFORM_HEAD.size))
            read(4 * samples * channels)
    if read(1) == b"\1":
        _skip_array(read, 340)


_SKIP = {RECON_DATA: _skip_recon_data, IMAGE_ARRAY: _skip_image_array}
