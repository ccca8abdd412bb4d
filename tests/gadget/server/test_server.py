"""The resident server: Gadgetron by <connect>, MRD clients, many at once, and every kind of end."""

import gc
import json
import logging
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gadget.compute.model import make_engine
from gadget.server.connection import ServerLimits
from gadget.server.protocol.wire import Stream, WireLimits
from gadget.server.server import Server
from gadget.settings import Settings
from jrsr_core.mrd.lines.acquired import CALIBRATION, NOISE, has_flag
from tests.helpers import layouts, messages, mrd_scans
from tests.helpers.layouts import Answer
from tests.helpers.peer import CHEAP, PATIENCE, Peer, line_messages, resident, wait_until
from tests.helpers.served_scans import Served, assert_images, serve

GADGETRON = layouts.properties(trigger="slice")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("served"), slices=3, repetitions=2)


@pytest.fixture(scope="module")
def server():
    """One for many tests: it keeps what they load."""
    with resident() as server:
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("gadget.server.protocol.inbox.DRAINED_SECONDS", 0.2)


def gadgetron(server, scan: Served, data: list[bytes], config: str = GADGETRON) -> Answer:
    peer = Peer.to(server.port)
    peer.send_meanwhile(layouts.config(config), layouts.header(scan.header.xml), *data)
    return peer.finish()


def client(
    server,
    scan: Served,
    *after_header: bytes,
    name: str = "jrsr",
    data: list[bytes] | None = None,
) -> Answer:
    """An MRD client: everything it sends ends with NUL."""
    peer = Peer.to(server.port)
    opening = layouts.config_file(name) + layouts.header(scan.header.xml + "\0")
    peer.send_meanwhile(opening, *after_header, *(data or scan.lines_alone))
    return peer.finish()


def without_noise(scan: Served) -> dict[str, object]:
    """Buckets bring no noise lines: the same images without whitening."""
    return {"prewhiten": False}


def test_lines_from_gadgetron(server, scan):
    answer = gadgetron(server, scan, scan.lines_alone)
    assert_images(answer.images, scan.expected())
    assert answer.ids == [layouts.IMAGE] * 6 + [layouts.CLOSE]


@pytest.mark.parametrize("trigger", ["bucket", "slice", "measurement"])
def test_buckets_from_gadgetron(server, scan, trigger):
    config = layouts.properties(trigger=trigger, prewhiten="false")
    answer = gadgetron(server, scan, scan.buckets, config)
    assert_images(answer.images, scan.expected(prewhiten=False))
    assert [layouts.u16(layouts.WAVEFORM) + w for w in answer.waveforms] == [
        layouts.waveform(w, i) for i, w in enumerate(messages.some_waveforms())
    ]
    assert answer.is_closed and not answer.errors


@pytest.mark.parametrize("name", ["jrsr", "cg-sense+sinc", "default.xml"])
def test_lines_from_an_mrd_client(server, scan, name):
    answer = client(server, scan, name=name)
    assert_images(answer.images, scan.expected())
    assert answer.is_closed


def test_parameters_of_an_mrd_client(server, scan):
    """Behind the header, as FIRE sends them; in any other place they do no harm."""
    parameters = {"parameters": {"output": "complex", "config": "jrsr", "series_index": "7"}}
    sent = layouts.text(json.dumps(parameters).encode() + b"\0")
    answer = client(server, scan, layouts.text(b"Gruss\0"), sent)
    assert [int(i.head["image_series_index"]) for i in answer.images] == [7] * 6
    assert {i.pixels.dtype for i in answer.images} == {np.dtype("<c8")}
    peer = Peer.to(server.port)
    opening = layouts.config_file("jrsr") + sent + layouts.header(scan.header.xml)
    peer.send_meanwhile(opening, *scan.lines_alone)
    assert {i.pixels.dtype for i in peer.finish().images} == {np.dtype("<c8")}


def test_a_name_in_the_parameters_adds_to_that_of_the_client(server, scan):
    for name, parameters in (("cg-sense+sinc", "openrecon"), ("openrecon", "cg-sense+sinc")):
        sent = layouts.text(json.dumps({"parameters": {"config": parameters}}))
        answer = client(server, scan, sent, name=name)
        assert {image.pixels.dtype for image in answer.images} == {np.dtype("<i2")}
        assert {image.attribute("JRSR_model") for image in answer.images} == {"cg-sense+sinc"}
        assert len(answer.images) == 6 and not answer.texts


def test_a_configuration_text_of_an_mrd_client(server, scan):
    for text in ('{"output": "complex"}\0', chain(output="complex")):
        peer = Peer.to(server.port)
        opening = layouts.config(text) + layouts.header(scan.header.xml)
        peer.send_meanwhile(opening, *scan.lines_alone)
        images = peer.finish().images
        assert len(images) == 6 and images[0].pixels.dtype == np.dtype("<c8")


def chain(**values: object) -> str:
    node = layouts.properties(**values).partition("?>\n")[2]
    return f"<configuration><stream><external>{node}</external></stream></configuration>"


def test_everything_else_passes_in_its_order(server, scan):
    others = [layouts.image(messages.pixels(k), b"<m>1</m>") for k in messages.KINDS]
    others += [layouts.waveform(messages.some_waveforms()[0]), messages.recon_data()]
    others += [messages.image_array()]
    answer = gadgetron(server, scan, [*others, *scan.lines_alone])
    assert answer.ids == [1022] * 8 + [1026, 1023, 1024] + [1022] * 6 + [layouts.CLOSE]
    assert [layouts.u16(1022) + i.raw for i in answer.images[:8]] == others[:8]
    assert [layouts.u16(n) + raw for n, raw in answer.arrays] == others[9:]
    assert_images(answer.images[8:], scan.expected())


def test_one_byte_at_a_time(server, tmp_path):
    scan = serve(tmp_path, n_coils=2, noise_scan=False)
    whole = b"".join([layouts.config(GADGETRON), layouts.header(scan.header.xml), *scan.buckets])
    peer = Peer.to(server.port)
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for i in range(0, 600):
        peer.send(whole[i : i + 1])
    peer.send(whole[600:-5])
    for i in range(len(whole) - 5, len(whole)):
        peer.send(whole[i : i + 1])
    assert_images(peer.finish().images, scan.expected())


def test_four_at_once_with_one_model(scan):
    """All are right, and one model serves them all."""
    loaded = []

    def make(settings: Settings):
        loaded.append(settings)
        return make_engine(settings)

    with resident(make=make) as server, ThreadPoolExecutor(4) as pool:
        ways = [
            lambda: gadgetron(server, scan, scan.lines_alone),
            lambda: client(server, scan),
            lambda: gadgetron(server, scan, scan.lines_alone, layouts.properties(time_limit=60)),
            lambda: client(server, scan, name="cg-sense+sinc"),
        ]
        for answer in pool.map(lambda way: way(), ways):
            assert_images(answer.images, scan.expected())
        wait_until(lambda: server.health.n_open == 0)
        assert len(loaded) == 1
        assert (server.health.n_done, server.health.n_images) == (4, 24)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (layouts.properties(modle="jrsr"), "unknown property 'modle', did you mean 'model'?"),
        (layouts.properties(model="jrsrr"), "unknown model 'jrsrr', did you mean 'jrsr'?"),
        (layouts.properties(weights="/nowhere.json"), "weights names a file of the server"),
        ("<configuration>", "not readable as XML"),
    ],
)
def test_wrong_settings_are_told_and_the_input_is_drained(server, scan, config, words):
    answer = gadgetron(server, scan, scan.lines_alone, config)
    told = answer.errors + answer.texts
    assert len(told) == 1 and words in told[0]
    assert not answer.images and answer.is_closed


def test_an_mrd_client_is_told_by_text(server, scan):
    answer = client(server, scan, name="nothing-like-it")
    assert answer.ids == [layouts.TEXT, layouts.CLOSE]
    assert answer.texts[0].startswith("ERROR unknown configuration 'nothing-like-it'")
    answer = client(server, scan, layouts.text('{"modle": 1}'))
    assert "unknown property 'modle'" in answer.texts[0] and answer.is_closed


def test_lines_that_come_too_late_are_told(server, scan):
    again = list(line_messages(scan.lines))[-3:]
    data = [*scan.lines_alone[:-1], *again, layouts.close()]
    peers = (gadgetron(server, scan, data), client(server, scan, data=data))
    for answer, told in zip(peers, ("errors", "texts"), strict=True):
        assert_images(answer.images, scan.expected())
        (text,) = getattr(answer, told)
        n = len(scan.lines.heads) + 3
        assert f"3 of {n} lines came after their image was made with trigger=slice" in text
        assert "trigger=measurement waits" in text and answer.is_closed


def test_a_scan_that_is_declined(server, scan):
    xml = scan.header.xml.replace(">cartesian<", ">radial<")
    assert xml != scan.header.xml
    peer = Peer.to(server.port)
    peer.send_meanwhile(layouts.config(GADGETRON), layouts.header(xml), *scan.lines_alone)
    answer = peer.finish()
    assert "trajectory is radial" in answer.errors[0] and answer.is_closed
    assert not answer.images


def test_a_trajectory_is_declined_by_the_header_although_no_line_follows(server, scan):
    xml = scan.header.xml.replace(">cartesian<", ">spiral<")
    peer = Peer.to(server.port)
    peer.send_meanwhile(layouts.config(GADGETRON), layouts.header(xml), layouts.close())
    answer = peer.finish()
    assert "trajectory is spiral" in answer.errors[0] and answer.is_closed
    assert not answer.images


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("nonsense", "header is not readable as XML"),
        ("", "header is not readable as XML"),
        ("<ismrmrdHeader/>", "encoding is missing"),
    ],
)
def test_a_header_that_is_none(server, scan, xml, words):
    peer = Peer.to(server.port)
    peer.send_meanwhile(layouts.config(""), layouts.header(xml), *scan.lines_alone)
    answer = peer.finish()
    assert words in answer.errors[0] and answer.is_closed


@pytest.mark.parametrize("code", ["utf-8", "latin-1"])
def test_umlauts_in_the_header(server, scan, code):
    xml = scan.header.xml.replace(">brain-5x<", ">Schädel für Jörg<")
    assert xml != scan.header.xml
    peer = Peer.to(server.port)
    opening = layouts.config(GADGETRON) + layouts.header(xml.encode(code))
    peer.send_meanwhile(opening, *scan.lines_alone)
    assert_images(peer.finish().images, scan.expected())


def test_a_header_with_elements_of_a_vendor(server, scan):
    xml = scan.header.xml.replace("<encoding>", "<vendor><a b='c'/></vendor><encoding>", 1)
    peer = Peer.to(server.port)
    peer.send_meanwhile(layouts.config(GADGETRON), layouts.header(xml), *scan.lines_alone)
    assert_images(peer.finish().images, scan.expected())


def reference_scan(folder) -> tuple[Served, list]:
    scan = serve(folder, calibration="separate", slices=2, noise_scan=False)
    return scan, list(zip(scan.lines.heads, scan.lines.data, strict=True))


def test_buckets_of_nothing_but_reference_lines(server, tmp_path):
    """Gadgetron sends the reference first where it is a repetition of its own."""
    scan, lines = reference_scan(tmp_path)
    only = has_flag(scan.lines.heads, CALIBRATION)
    reference = [x for x, flag in zip(lines, only, strict=True) if flag]
    image = [x for x, flag in zip(lines, only, strict=True) if not flag]
    data = [layouts.bucket((), reference), layouts.bucket(image), layouts.close()]
    config = layouts.properties(trigger="bucket")
    assert_images(gadgetron(server, scan, data, config).images, scan.expected())
    # In one bucket, the reference in its own part.
    data = [layouts.bucket(image, reference), layouts.close()]
    assert_images(gadgetron(server, scan, data, config).images, scan.expected())


def test_a_scan_of_nothing_but_noise_is_declined(server, scan):
    noise = has_flag(scan.lines.heads, NOISE)
    data = [m for m, flag in zip(scan.lines_alone, noise, strict=False) if flag]
    answer = gadgetron(server, scan, [*data, layouts.close()])
    assert "no image lines" in answer.errors[0] and answer.is_closed


def test_no_data_at_all_is_no_error(server, scan):
    for data in ([layouts.close()], [layouts.bucket(), layouts.close()]):
        answer = gadgetron(server, scan, data)
        assert answer.ids == [layouts.CLOSE]


def test_a_slice_that_cannot_be_calibrated_is_a_fallback_image(server, tmp_path):
    scan = serve(tmp_path, slices=3, noise_scan=False)
    lines = list(zip(scan.lines.heads, scan.lines.data, strict=True))
    for head, data in lines:
        if head["idx"]["slice"] == 1 and head["idx"]["kspace_encode_step_1"] == 16:
            data[:] = np.nan
    data = [layouts.acquisition(*line) for line in lines] + [layouts.close()]
    answer = gadgetron(server, scan, data)
    assert [int(i.head["slice"]) for i in answer.images] == [0, 1, 2]
    (fallback,) = answer.fallbacks
    assert fallback is answer.images[1] and "NaN" in fallback.meta
    assert_images(answer.images[::2], scan.expected()[::2])
    answer = gadgetron(server, scan, data, layouts.properties(on_failure="stop"))
    assert "NaN" in answer.errors[0] and answer.is_closed
    assert not answer.fallbacks


@pytest.mark.parametrize(
    ("junk", "words"),
    [
        (layouts.u16(4711), "message id 4711 is unknown"),
        (layouts.image(messages.pixels(), data_type=77), "data_type 77"),
        (layouts.u16(layouts.BUCKET) + layouts.u64(*[1] * 13), "its headers require"),
    ],
)
def test_bytes_that_make_no_sense(server, scan, junk, words):
    data = [*scan.lines_alone[:-1], junk, *scan.lines_alone]
    answer = gadgetron(server, scan, data)
    assert words in answer.errors[0] and answer.is_closed
    # What came before is still answered, and nothing after the error.
    assert answer.ids[-2:] == [layouts.ERROR, layouts.CLOSE]


def test_the_limits_of_the_server(scan):
    with resident(limits=ServerLimits(wire=WireLimits(line=1000))) as server:
        answer = gadgetron(server, scan, scan.lines_alone)
        assert "at most 1000 are accepted" in answer.errors[0] and answer.is_closed


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("cut", [3, 2000, 20000])
def test_a_peer_that_is_gone_leaves_nothing_behind(server, scan, cut, reset):
    whole = b"".join([layouts.config(""), layouts.header(scan.header.xml), *scan.lines_alone])
    before = threading.active_count()
    wait_until(lambda: server.health.n_open == 0)
    failed, done = server.health.n_failed, server.health.n_done
    peer = Peer.to(server.port).send(whole[:cut])
    wait_until(lambda: server.health.n_open >= 1)
    peer.drop(reset=reset)
    wait_until(lambda: server.health.n_open == 0 and threading.active_count() <= before)
    assert not server.connections
    assert server.health.n_failed <= failed + 1
    assert server.health.n_done == done
    assert_images(gadgetron(server, scan, scan.lines_alone).images, scan.expected())


def test_health_before_a_scan_and_within(server, scan):
    peer = Peer.to(server.port).send(layouts.query(7, "health"), layouts.query(2**50, "health"))
    answer = peer.wait_for(layouts.RESPONSE, 2)
    assert [n for n, _ in answer.responses] == [7, 2**50]
    assert "connections, 0 slices waiting" in answer.responses[0][1]
    xml = layouts.header(scan.header.xml)
    peer.send(layouts.config(GADGETRON), xml, layouts.query(8, "health"))
    assert peer.wait_for(layouts.RESPONSE, 3).responses[2][0] == 8
    peer.send_meanwhile(*scan.lines_alone)
    assert_images(peer.finish().images, scan.expected())


def test_health_while_a_model_is_loaded(scan):
    is_loading, goes_on = threading.Event(), threading.Event()

    def make(settings: Settings):
        is_loading.set()
        assert goes_on.wait(PATIENCE)
        return make_engine(settings)

    with resident(make=make) as server:
        peer = Peer.to(server.port)
        peer.send_meanwhile(layouts.config(GADGETRON), layouts.header(scan.header.xml))
        assert is_loading.wait(PATIENCE)
        try:
            health = Peer.to(server.port).send(layouts.query(1, "health"))
            assert health.wait_for(layouts.RESPONSE).responses
        finally:
            goes_on.set()
        health.drop()
        peer.send_meanwhile(*scan.lines_alone)
        assert_images(peer.finish().images, scan.expected())


def test_one_connection_too_many_is_told_so(scan):
    with resident(max_connections=1) as server:
        first = Peer.to(server.port)
        first.send(layouts.config(GADGETRON), layouts.header(scan.header.xml))
        wait_until(lambda: server.health.n_open == 1)
        for opening, kind in (
            (layouts.config(""), layouts.ERROR),
            (layouts.config_file("jrsr"), layouts.TEXT),
        ):
            second = Peer.to(server.port).send(opening, layouts.header(scan.header.xml))
            answer = second.finish()
            assert answer.ids == [kind, layouts.CLOSE]
            assert "1 connections are served already" in (answer.errors + answer.texts)[0]
        first.send_meanwhile(*scan.lines_alone)
        assert_images(first.finish().images, scan.expected())


def test_a_client_that_never_reads_holds_up_nobody(server, tmp_path):
    big = serve(tmp_path, slices=2)
    lazy = socket.create_connection(("127.0.0.1", server.port))
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    many = layouts.image(np.zeros((1, 1, 1024, 1024), "<f4"))
    opening = layouts.config(GADGETRON) + layouts.header(big.header.xml)
    lazy.sendall(opening)
    # They pass through, more than the buffers of the sockets hold.
    for _ in range(20):
        lazy.sendall(many)
    assert_images(gadgetron(server, big, big.lines_alone).images, big.expected())
    lazy.close()
    wait_until(lambda: server.health.n_open == 0)


def test_a_peer_may_end_its_half_after_close(server, scan):
    peer = Peer.to(server.port)
    opening = layouts.config_file("jrsr") + layouts.header(scan.header.xml)
    peer.send_meanwhile(opening, *scan.lines_alone).join(PATIENCE)
    peer.sock.shutdown(socket.SHUT_WR)
    assert_images(peer.finish().images, scan.expected())


def test_ipv6(scan):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with resident(host="::1") as server:
        peer = Peer.to(server.port, "::1")
        opening = layouts.config(GADGETRON) + layouts.header(scan.header.xml)
        peer.send_meanwhile(opening, *scan.lines_alone)
        assert_images(peer.finish().images, scan.expected())


def test_stopping_answers_what_is_going_on_and_takes_nothing_new(scan):
    with resident() as server:
        peer = Peer.to(server.port)
        peer.send(layouts.config(GADGETRON), layouts.header(scan.header.xml))
        half = len(scan.lines_alone) // 2
        peer.send(*scan.lines_alone[:half])
        wait_until(lambda: server.health.n_open == 1)
        server.stop()
        wait_until(lambda: refused(server.port), "listening socket closed")
        peer.send(*scan.lines_alone[half:])
        assert_images(peer.finish().images, scan.expected())


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # It waited to be accepted when the listening socket was closed.
        return False
    return False


def test_a_peer_that_the_system_accepted_before_the_stop_is_served(scan):
    server = Server(Settings(**CHEAP), make_engine, port=0)
    server.port = server.addresses[0][1]
    peer = Peer.to(server.port)
    server.stop()
    thread = threading.Thread(target=server.run)
    thread.start()
    peer.send_meanwhile(
        layouts.config_file("jrsr"), layouts.header(scan.header.xml), *scan.lines_alone
    )
    assert_images(peer.finish().images, scan.expected())
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_stopping_twice_ends_what_is_going_on(scan, caplog):
    caplog.set_level(logging.INFO, "jrsr")
    with resident(grace=1000.0) as server:
        peer = Peer.to(server.port)
        peer.send(layouts.config(GADGETRON), layouts.header(scan.header.xml))
        wait_until(lambda: any(c.scan_state for c in server.connections))
        server.stop()
        server.stop()
        peer.finish()
        assert peer.answer.errors == ["the server was stopped"] and peer.answer.is_closed
    server.stop()
    assert "stopped: " in caplog.text


def test_grace_has_an_end(scan):
    with resident(grace=0.1) as server:
        peer = Peer.to(server.port)
        peer.send(layouts.config(GADGETRON), layouts.header(scan.header.xml))
        wait_until(lambda: any(c.scan_state for c in server.connections))
        server.stop()
        peer.finish()
        assert peer.answer.errors == ["the server was stopped"] and peer.answer.is_closed


def test_a_peer_that_does_not_read_cannot_hold_the_server_up(scan, monkeypatch):
    """Its connection is full of images; the last word cannot be delivered."""
    written, write = [], Stream.write

    def recorded(stream: Stream, data: bytes) -> None:
        written.append(stream.socket)
        write(stream, data)

    monkeypatch.setattr(Stream, "write", recorded)
    with resident(grace=0.1) as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(layouts.config(GADGETRON) + layouts.header(scan.header.xml))
        image = layouts.image(np.ones((1, 1, 512, 512), "<f4"))
        thread = threading.Thread(target=_send_all, args=(sock, 40 * [image]), daemon=True)
        thread.start()
        wait_until(lambda: written, "an image that comes back")
        wait_until(lambda: not select.select([], written[:1], [], 0)[1], "no more can be sent")
    sock.close()
    thread.join(PATIENCE)


def _send_all(sock, messages):
    try:
        for message in messages:
            sock.sendall(message)
    except OSError:
        pass


def open_sockets() -> set[socket.socket]:
    """Sockets of this process that are open."""
    found = {item for item in gc.get_objects() if issubclass(type(item), socket.socket)}
    return {sock for sock in found if sock.fileno() != -1}


def test_no_socket_and_no_thread_is_left(scan):
    before, sockets = threading.active_count(), open_sockets()
    with resident(settings=Settings(**CHEAP)) as server:
        gadgetron(server, scan, scan.lines_alone)
    assert not server.connections
    wait_until(lambda: threading.active_count() <= before, "threads end")
    assert not open_sockets() - sockets


def test_openrecon_receives_integers_with_one_scale(server, scan):
    answer = client(server, scan, name="openrecon")
    assert_images(answer.images, scan.expected(output="int16"))
    assert {int(image.head["data_type"]) for image in answer.images} == {2}
    assert len({image.attribute("JRSR_value_of_one") for image in answer.images}) == 1
    assert max(image.pixels.max() for image in answer.images) == 4095


def test_a_peer_may_ask_for_floats_or_for_other_integers(server, scan):
    floats = client(server, scan, layouts.text('{"output": "magnitude"}'), name="openrecon")
    assert_images(floats.images, scan.expected())
    integers = client(server, scan, layouts.text('{"output": "uint16"}'))
    assert_images(integers.images, scan.expected(output="uint16"))


def test_gadgetron_receives_unsigned_integers_and_is_told_that_it_takes_no_others(server, scan):
    properties = layouts.properties(trigger="slice", output="uint16")
    answer = gadgetron(server, scan, scan.lines_alone, properties)
    assert_images(answer.images, scan.expected(output="uint16"))
    properties = layouts.properties(output="int16")
    answer = gadgetron(server, scan, scan.lines_alone, properties)
    (error,) = answer.errors
    assert "output=uint16" in error and not answer.images


def test_integers_of_complete_slices_leave_before_the_error(server, scan):
    # The scan breaks off with a line of an encoding that the header does not have.
    head = scan.lines.heads[-1].copy()
    head["encoding_space_ref"] = 9
    broken = layouts.acquisition(head, scan.lines.data[-1])
    data = [*scan.lines_alone[:-1], broken, layouts.close()]
    properties = layouts.properties(trigger="slice", output="uint16")
    answer = gadgetron(server, scan, data, properties)
    assert_images(answer.images, scan.expected(output="uint16"))
    assert "encoding 9" in answer.errors[0]


@pytest.mark.parametrize("trigger", ["slice", "measurement"])
def test_the_log_states_the_slices_that_an_aborted_scan_lacks(trigger, server, scan, caplog):
    """Also where the images of the incomplete repetition left before it was known."""
    lines = scan.lines
    late = (lines.heads["idx"]["repetition"] == 1) & (lines.heads["idx"]["slice"] > 0)
    rest = Served(scan.folder, scan.header, mrd_scans.select(lines, np.flatnonzero(~late)))
    with caplog.at_level(logging.WARNING, "jrsr"):
        config = layouts.properties(trigger=trigger)
        answer = gadgetron(server, rest, rest.lines_alone, config)
    assert len(answer.images) == 4 and not answer.errors
    note = "repetition 1 is incomplete: 1 of 3 slices or slabs were measured"
    assert [record.getMessage() for record in caplog.records] == [note]
