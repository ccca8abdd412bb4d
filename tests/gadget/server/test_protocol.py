"""Every message against a second description of the layouts, and against the packages of others."""

import ctypes
import io
import socket
import threading
import tracemalloc

import gadgetron.external.readers
import ismrmrd
import numpy as np
import pytest
from gadgetron.types.acquisition_bucket import read_acquisition_bucket
from gadgetron.types.image_array import read_image_array
from gadgetron.types.recon_data import read_recon_data

from gadget.server.protocol.connection import Handshake, PeerConnection, read_payload
from gadget.server.protocol.messages import (
    ForwardedMessage,
    Lines,
    Query,
    Text,
    error_message,
    image_message,
    response_message,
    text_message,
)
from gadget.server.protocol.wire import Id, PeerDisconnected, ProtocolError, Stream, WireLimits
from tests.helpers import layouts, messages
from tests.helpers.peer import in_chunks


class Line:
    """A socket pair: the test writes to one end, a `Stream` reads from the other."""

    def __init__(self, limits: WireLimits | None = None) -> None:
        self.near, far = socket.socketpair()
        self.stream = Stream(far, limits)

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.near.close()
        self.stream.socket.close()

    def read(self) -> object:
        return read_payload(int.from_bytes(self.stream.read(2), "little"), self.stream)

    def read_from(self, data: bytes, size: int = 2**16) -> object:
        """What is read of bytes that come in pieces, and then no more."""

        def write() -> None:
            try:
                for piece in in_chunks(data, size):
                    self.near.sendall(piece)
                self.near.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        thread = threading.Thread(target=write)
        thread.start()
        try:
            return self.read()
        finally:
            self.stream.socket.shutdown(socket.SHUT_RDWR)
            thread.join()


def read(data: bytes, size: int = 2**16, limits: WireLimits | None = None) -> object:
    with Line(limits) as line:
        return line.read_from(data, size)


def payload(message: bytes) -> io.BytesIO:
    return io.BytesIO(message[2:])


MESSAGES = messages.all_messages()


def test_sizes_of_the_second_description():
    assert layouts.ACQUISITION_HEAD.itemsize == ctypes.sizeof(ismrmrd.AcquisitionHeader) == 340
    assert layouts.IMAGE_HEAD.itemsize == ctypes.sizeof(ismrmrd.ImageHeader) == 198
    assert layouts.WAVEFORM_HEAD.size == ctypes.sizeof(ismrmrd.WaveformHeader) == 40
    for fields, ours in (
        (ismrmrd.AcquisitionHeader, layouts.ACQUISITION_HEAD),
        (ismrmrd.ImageHeader, layouts.IMAGE_HEAD),
    ):
        assert [name for name, _ in fields._fields_] == list(ours.names)
        for name in ours.names:
            assert getattr(fields, name).offset == ours.fields[name][1], name


def test_ismrmrd_reads_lines_and_waveforms_of_the_second_description():
    head, data = messages.some_lines(1, trajectory=2)[0]
    line = ismrmrd.Acquisition.deserialize_from(payload(layouts.acquisition(head, data)).read)
    np.testing.assert_array_equal(line.data, data)
    assert line.traj.shape == (data.shape[1], 2) and (line.traj == 1).all()
    assert line.idx.kspace_encode_step_1 == head["idx"]["kspace_encode_step_1"]
    assert line.scan_counter == head["scan_counter"] and line.center_sample == data.shape[1] // 2
    wave = messages.some_waveforms()[0]
    read_back = ismrmrd.Waveform.deserialize_from(payload(layouts.waveform(wave, 9)).read)
    np.testing.assert_array_equal(read_back.data, wave)
    assert read_back.waveform_id == 9 and read_back.sample_time_us == 2500.0


@pytest.mark.parametrize("kind", ["<u2", "<i2", "<f4", "<c8", "<c16"])
def test_ismrmrd_reads_images_of_the_second_description(kind):
    sent = layouts.image(messages.pixels(kind), b"<ismrmrdMeta/>", image_index=3)
    image = ismrmrd.Image.deserialize_from(payload(sent).read)
    np.testing.assert_array_equal(image.data, messages.pixels(kind))
    assert image.image_index == 3 and list(image.getHead().matrix_size) == [4, 3, 1]


class Package:
    """Bytes as the wrapped socket of the gadgetron package."""

    def __init__(self, data: bytes) -> None:
        self.read = payload(data).read


@pytest.mark.filterwarnings("ignore:A builtin ctypes object:RuntimeWarning")
def test_gadgetron_reads_buckets_and_arrays_of_the_second_description():
    lines = messages.some_lines(3)
    source = Package(layouts.bucket(lines[:2], lines[2:], n_spaces=2))
    bucket = read_acquisition_bucket(source)
    assert [a.scan_counter for a in bucket.data] == [h["scan_counter"] for h, _ in lines[:2]]
    np.testing.assert_array_equal(bucket.ref[0].data, lines[2][1])
    assert bucket.datastats[0].kspace_encode_step_1 == {0, 1} and not bucket.datastats[1].slice
    assert source.read() == b""
    # Its own reader cannot take an encoding space that no line has used.
    used = layouts.recon_buffer(messages.buffered(), np.ones((2, 6, 4, 1, 1, 1, 2), "<f4"))
    source = Package(layouts.recon_data((used, None), (used, used)))
    first, second = read_recon_data(source).bits
    np.testing.assert_array_equal(first.data.data, messages.buffered())
    assert first.data.headers.shape == (4, 1, 1, 1, 2) and first.ref is None
    assert second.ref.trajectory.shape == (2, 6, 4, 1, 1, 1, 2)
    assert list(first.data.sampling.sampling_limits[2]) == [12, 13, 14]
    assert source.read() == b""
    source = Package(layouts.image_array(np.ones((4, 3, 1, 2, 1, 1, 2), "<c8"), ["a", "b"]))
    images = read_image_array(source)
    assert images.data.shape == (4, 3, 1, 2, 1, 1, 2) and images.meta == ["a", "b"]
    assert images.headers.shape == (1, 1, 2) and images.acq_headers.shape == (3, 1, 1, 1, 2)
    assert source.read() == b""
    assert gadgetron.external.readers  # The package is the oracle, not a copy of it.


@pytest.mark.parametrize("name", messages.passengers())
@pytest.mark.parametrize("size", [7, 2**16])
def test_passengers_come_and_go_byte_for_byte(name, size):
    item = read(MESSAGES[name], size)
    assert isinstance(item, ForwardedMessage) and item.n_bytes == len(MESSAGES[name]) - 2
    assert item.to_bytes() == MESSAGES[name]


@pytest.mark.parametrize("trajectory", [0, 2])
def test_a_line(trajectory):
    ((head, data),) = messages.some_lines(1, trajectory)
    item = read(layouts.acquisition(head, data), 100)
    assert isinstance(item, Lines) and not item.is_bucket and not item.waveforms
    assert item.lines.heads.tobytes() == layouts.line_bytes(head, data)[0]
    np.testing.assert_array_equal(item.lines.data[0], data)
    assert item.n_bytes >= data.nbytes


def test_a_bucket_has_every_line_once_and_in_time():
    item = read(MESSAGES["bucket"], 1000)
    expected = messages.some_lines(4)
    assert item.is_bucket
    counters = item.lines.heads["scan_counter"].tolist()
    assert counters == [h["scan_counter"] for h, _ in expected]
    for got, (_, data) in zip(item.lines.data, expected, strict=True):
        np.testing.assert_array_equal(got, data)
    sent = [layouts.waveform(w, i) for i, w in enumerate(messages.some_waveforms())]
    assert [w.to_bytes() for w in item.waveforms] == sent


def test_a_bucket_that_is_out_of_order_is_put_in_time():
    lines = messages.some_lines(4)
    item = read(layouts.bucket(lines[::-1]))
    assert item.lines.heads["scan_counter"].tolist() == [h["scan_counter"] for h, _ in lines]
    np.testing.assert_array_equal(item.lines.data[0], lines[0][1])


def test_lines_of_several_sizes_in_one_bucket():
    lines = messages.some_lines(3)
    head = lines[1][0].copy()
    head["number_of_samples"], head["active_channels"] = 5, 2
    lines[1] = (head, np.arange(10).reshape(2, 5).astype("<c8"))
    item = read(layouts.bucket(lines))
    for got, (_, data) in zip(item.lines.data, lines, strict=True):
        np.testing.assert_array_equal(got, data)


@pytest.mark.parametrize("name", ["bucket of trajectories", "empty bucket"])
def test_other_buckets(name):
    n = {"bucket of trajectories": 3, "empty bucket": 0}[name]
    item = read(MESSAGES[name])
    assert len(item.lines.heads) == len(item.lines.data) == n


def test_texts_of_every_peer():
    assert read(layouts.text("Grüße")) == Text("Grüße", n_bytes=7)
    assert read(layouts.text(b"{}\0")).text == "{}"
    assert read(layouts.text("Grüße".encode("latin-1"))).text.startswith("Gr")
    query = read(layouts.query(2**63, "health"))
    assert isinstance(query, Query) and (query.correlation, query.text) == (2**63, "health")


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_that_breaks_off_is_a_peer_that_has_gone(name):
    message = MESSAGES[name]
    for cut in {1, 2, 3, len(message) // 3, len(message) // 2, len(message) - 1}:
        if 0 < cut < len(message):
            with pytest.raises(PeerDisconnected, match="ended without CLOSE"):
                read(message[:cut])


def test_a_reset_is_a_peer_that_has_gone():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    with far:
        near.sendall(MESSAGES["acquisition"][:100])
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        near.close()
        stream = Stream(far)
        with pytest.raises(PeerDisconnected):
            stream.read(101)
        with pytest.raises(PeerDisconnected):
            stream.write(b"x")


@pytest.mark.parametrize("number", [0, 9, 1007, 1025, 1051, 65535])
def test_an_unknown_id_is_an_error(number):
    with pytest.raises(ProtocolError, match=f"message id {number} is unknown"):
        read(layouts.u16(number) + bytes(1000))


@pytest.mark.parametrize(("number", "name"), [(1, "config file"), (2, "config"), (3, "header")])
def test_a_further_opening_is_an_error(number, name):
    with pytest.raises(ProtocolError, match=f"a further {name} came: a connection is for one scan"):
        read(layouts.u16(number) + bytes(1000))


@pytest.mark.parametrize("kind", [0, 9, 255])
def test_an_unknown_kind_of_pixel_is_an_error(kind):
    with pytest.raises(ProtocolError, match=f"data_type {kind}"):
        read(layouts.image(messages.pixels(), data_type=kind))


def huge_messages() -> dict[str, bytes]:
    """Messages whose lengths are lies, without the bytes they promise."""
    line = np.zeros((), layouts.ACQUISITION_HEAD)
    line["number_of_samples"] = line["active_channels"] = 65535
    huge = layouts.u64(2**60)
    image = layouts.image(messages.pixels(), matrix_size=65535, channels=65535)
    wave = layouts.WAVEFORM_HEAD.pack(1, 0, 0, 0, 0, 65535, 65535, 1.0, 0)
    n_lines = layouts.u64(2**40, 340 * 2**40, *[0] * 11)
    return {
        "acquisition": layouts.u16(layouts.ACQUISITION) + line.tobytes(),
        "image": image,
        "attributes": layouts.u16(layouts.IMAGE) + image[2:200] + huge,
        "waveform": layouts.u16(layouts.WAVEFORM) + wave,
        "bucket": layouts.u16(layouts.BUCKET) + n_lines,
        "statistics": layouts.bucket()[:106] + huge,
        "recon data": layouts.u16(layouts.RECON_DATA) + layouts.u64(1, 7, *[2**20] * 7),
        "dimensions": layouts.u16(layouts.RECON_DATA) + layouts.u64(1, 2**60),
        "image array": layouts.u16(layouts.IMAGE_ARRAY) + layouts.u64(2, 2**31, 2**31),
        "text": layouts.u16(layouts.TEXT) + b"\xff\xff\xff\xff",
        "query": layouts.u16(layouts.QUERY) + layouts.u64(0, 1, 2**60),
    }


@pytest.mark.parametrize("name", huge_messages())
def test_a_length_beyond_the_limits_is_an_error(name):
    with pytest.raises(ProtocolError, match="at most"):
        read(huge_messages()[name])


def test_memory_is_taken_only_as_bytes_arrive():
    head = np.zeros((), layouts.IMAGE_HEAD)
    head["data_type"], head["channels"], head["matrix_size"] = 8, 1, (16384, 16384, 4)
    promise = layouts.u16(layouts.IMAGE) + head.tobytes() + layouts.u64(0) + bytes(1000)
    tracemalloc.start()
    try:
        with pytest.raises(PeerDisconnected):
            read(promise)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_own_limits():
    limits = WireLimits(text=3, line=50, message=200)
    for name in ("text", "acquisition", "bucket", "waveform", "image <f4", "image array"):
        with pytest.raises(ProtocolError, match=r"at most (3|50|200) are"):
            read(MESSAGES[name], limits=limits)
    assert read(layouts.text("abc"), limits=limits).text == "abc"


def lie_about(index: int, by: int) -> bytes:
    """A bucket with one of its 13 sizes changed."""
    message = bytearray(MESSAGES["bucket"])
    place = slice(2 + 8 * index, 10 + 8 * index)
    message[place] = layouts.u64((int.from_bytes(message[place], "little") + by) % 2**64)
    return bytes(message)


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12])
@pytest.mark.parametrize("by", [1, -1, 340])
def test_a_bucket_whose_sizes_contradict_its_heads(index, by):
    words = "bytes announced, its headers require|bytes, at most"
    with pytest.raises(ProtocolError, match=words):
        read(lie_about(index, by))


def an_image(kind: str, meta: str = "") -> ismrmrd.Image:
    image = ismrmrd.Image.from_array(messages.pixels(kind), transpose=False)
    image.attribute_string = meta
    image.image_index = 7
    return image


@pytest.mark.parametrize("kind", ["<f4", "<c8"])
def test_our_images(kind):
    meta = "<ismrmrdMeta><meta><name>Müller</name></meta></ismrmrdMeta>"
    message = image_message(an_image(kind, meta))
    answer = layouts.receive(io.BytesIO(message + layouts.close()).read, layouts.Answer())
    (image,) = answer.images
    np.testing.assert_array_equal(image.pixels, messages.pixels(kind))
    assert image.meta.endswith(meta) and image.head["image_index"] == 7
    assert image.head["attribute_string_len"] == len(image.meta.encode())
    again = ismrmrd.Image.deserialize_from(payload(message).read)
    np.testing.assert_array_equal(again.data, messages.pixels(kind))


def test_our_texts():
    sent = text_message("Grüße") + error_message("Ende") + response_message(2**40, "gut")
    answer = layouts.receive(io.BytesIO(sent + layouts.close()).read, layouts.Answer())
    assert (answer.texts, answer.errors) == (["Grüße"], ["Ende"])
    assert answer.responses == [(2**40, "gut")] and answer.is_closed


def conversation(*parts: bytes) -> PeerConnection:
    """What becomes of a connection that begins with these messages."""
    near, far = socket.socketpair()
    with near:
        near.sendall(b"".join(parts))
        near.shutdown(socket.SHUT_WR)
        try:
            return Handshake(Stream(far)).run()
        except Exception:
            far.close()
            raise


@pytest.mark.parametrize(
    ("first", "is_gadgetron"),
    [
        (layouts.config('<?xml version="1.0"?>\n'), True),
        (layouts.config(""), True),
        (layouts.config(layouts.properties(model="jrsr")), True),
        (layouts.config("<configuration><stream/></configuration>"), False),
        (layouts.config("{}\0"), False),
        (layouts.config_file("openrecon"), False),
    ],
)
def test_peers_are_told_apart_by_their_configuration(first, is_gadgetron):
    peer = conversation(first, layouts.header("<xml/>\0"))
    assert peer.is_gadgetron is is_gadgetron
    assert peer.header == b"<xml/>\0"
    assert peer.config_name == ("openrecon" if first[:2] == b"\1\0" else None)
    peer.stream.close()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([layouts.close()], "id 4 came first, expected a configuration"),
        ([layouts.header("<xml/>")], "id 3 came first"),
        ([layouts.config(""), layouts.close()], "id 4 came, expected the header"),
        ([layouts.config(""), MESSAGES["bucket"]], "id 1050 came, expected the header"),
    ],
)
def test_a_conversation_that_begins_otherwise(parts, words):
    with pytest.raises(ProtocolError, match=words):
        conversation(*parts)


@pytest.mark.parametrize("cut", [0, 1, 5, 700, 1026, 1029])
def test_a_conversation_that_ends_at_once(cut):
    opening = layouts.config_file("jrsr") + layouts.header("<xml/>")
    with pytest.raises(PeerDisconnected):
        conversation(opening[:cut])


def test_ids_are_those_of_the_second_description():
    for member in Id:
        assert getattr(layouts, member.name) == member
