"""Sizes and origins that are refused before anything is allocated from them."""

import socket
import threading
import time

import numpy as np
import pytest

from gadget.compute.model import make_engine
from gadget.configuration import parameters_of, properties_of
from gadget.errors import Exit, UsageError
from gadget.output.labels import Labels
from gadget.scan.memory import image_memory
from gadget.server import connection
from gadget.server.connection import ServerLimits
from gadget.server.protocol import inbox
from gadget.server.protocol.memory import MemoryBudget
from gadget.server.protocol.wire import WireLimits
from gadget.server.sockets import is_allowed, parse_networks
from gadget.settings import Settings
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header.scan_header import MAX_ENCODINGS, parse_header
from jrsr_core.mrd.header.xml import XmlError, XmlLimits, parse_xml
from jrsr_core.mrd.lines.acquired import NOISE, has_flag, line_bytes
from jrsr_core.mrd.live.live_scan import LiveScan
from jrsr_core.weights.card import CardError, WeightsCard
from tests.helpers import layouts
from tests.helpers.peer import (
    CHEAP,
    PATIENCE,
    Peer,
    is_readable,
    line_messages,
    resident,
    wait_until,
)
from tests.helpers.served_scans import SMALL, serve

LAUGHS = "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
BOMBS = {
    "billion laughs": f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "l">{LAUGHS}]><l>&j;</l>',
    "quadratic": f'<!DOCTYPE l [<!ENTITY a "{"x" * 20000}">]><l>{"&a;" * 400}</l>',
    "file": '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/hostname">]><l>&a;</l>',
    "external type": '<!DOCTYPE l SYSTEM "http://127.0.0.1:9/l.dtd"><l/>',
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("code", ["utf-8", "utf-16"])
def test_document_types_are_refused_wherever_xml_is_read(name, code):
    data = BOMBS[name].encode(code)
    with pytest.raises(XmlError, match="document type"):
        parse_xml(data)
    with pytest.raises(UsageError, match="configuration has a document type"):
        properties_of(data)
    for read in (parse_header, Labels):
        with pytest.raises(BadScan, match="header has a document type"):
            read(BOMBS[name])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"<a>" * 65 + b"</a>" * 65, "deeper than 64"),
        (b"<a>" + b"<b/>" * 100 + b"</a>", "more than 100 elements"),
        (b"<a>" + b" " * 5000 + b"</a>", "has 5007 bytes, at most 5000"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "not readable as XML: unknown encoding"),
    ],
)
def test_sizes_of_xml(text, words):
    with pytest.raises(XmlError, match=words):
        parse_xml(text, XmlLimits(n_bytes=5000, n_elements=100))


def test_number_of_encodings():
    xml = "<ismrmrdHeader>" + "<encoding/>" * (MAX_ENCODINGS + 1) + "</ismrmrdHeader>"
    with pytest.raises(BadScan, match="257 encodings, at most 256"):
        parse_header(xml)


def test_json_that_nests_too_deeply(tmp_path):
    with pytest.raises(UsageError, match="nested too deeply"):
        parameters_of('{"parameters":' * 100_000)
    card = tmp_path / "card.json"
    card.write_text("[" * 500_000)
    with pytest.raises(CardError, match=r"card\.json: not a JSON card \(recursion limit"):
        WeightsCard.read(card)


@pytest.mark.parametrize("name", ["architecture", "training", "metrics", "range"])
def test_fields_of_a_card_that_are_no_objects(name, tmp_path):
    card = tmp_path / "card.json"
    fields = '"model": "jrsr", "preset": "tiny", "file": "w", "architecture": {}'
    card.write_text(f'{{{fields}, "sha256": "{"0" * 64}", "{name}": [1]}}')
    with pytest.raises(CardError, match=rf"{name} is \[1\], expected an object"):
        WeightsCard.read(card)


def test_networks():
    nets = parse_networks(["10.1.0.0/16", "fd00::/8", "192.168.7.9"])
    assert is_allowed("10.1.2.3", nets) and is_allowed("::ffff:10.1.2.3", nets)
    assert is_allowed("fd12::1%eth0", nets) and is_allowed("192.168.7.9", nets)
    assert not is_allowed("10.2.2.3", nets) and not is_allowed("::1", nets)
    assert is_allowed("8.8.8.8", ())
    with pytest.raises(UsageError, match="allow: 'ten' does not appear"):
        parse_networks(["ten"])


def test_a_peer_from_elsewhere_is_closed_at_once():
    with resident(allow=parse_networks(["10.0.0.0/8"])) as server:
        sock = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        assert is_readable(sock, PATIENCE) and sock.recv(1) == b""
    with resident(allow=parse_networks(["127.0.0.0/8"])) as server:
        peer = Peer.to(server.port)
        assert peer.send(layouts.query(3, "health")).wait_for(layouts.RESPONSE).responses
        peer.drop()


def test_the_header_has_a_last_moment_however_slowly_it_comes(monkeypatch):
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 0.5)
    with resident() as server:
        sock = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        end = time.monotonic() + PATIENCE
        sock.sendall(layouts.u16(layouts.CONFIG))
        try:
            while not is_readable(sock, 0.1):
                assert time.monotonic() < end, "not disconnected"
                sock.sendall(b"\0")
        except ConnectionError:
            pass
        sock.close()


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("limits"), slices=2)


def opening(scan):
    return layouts.config(layouts.properties()), layouts.header(scan.header.xml)


def test_a_peer_that_falls_silent_is_told_and_left(scan):
    with resident(limits=ServerLimits(idle_timeout=0.3)) as server:
        peer = Peer.to(server.port).send(*opening(scan), *line_messages(scan.lines)[:3])
        answer = peer.finish()
        assert answer.errors == ["no data from the peer for too long"] and answer.is_closed


@pytest.mark.parametrize("closes", [False, True])
def test_a_patient_peer_waits_longer_than_the_time_limit_of_silence(scan, monkeypatch, closes):
    """What is limited is the silence of the peer, not the time that images take."""
    goes_on, was_silent = threading.Event(), threading.Event()
    may_be_silent = inbox.Inbox._may_be_silent

    def excused(self):
        was_silent.set()
        return may_be_silent(self)

    def slow(settings):
        assert goes_on.wait(PATIENCE)
        return make_engine(settings)

    monkeypatch.setattr(inbox.Inbox, "_may_be_silent", excused)
    with resident(make=slow, limits=ServerLimits(idle_timeout=0.2)) as server:
        lines = scan.lines_alone
        peer = Peer.to(server.port).send(*opening(scan), *lines[: None if closes else -5])
        if not closes:
            assert was_silent.wait(PATIENCE)
            peer.send(*lines[-5:])
        wait_until(lambda: all(c.scan_state for c in server.connections), "header")
        goes_on.set()
        answer = peer.finish()
        assert len(answer.images) == 2 and answer.is_closed and not answer.errors


def test_a_scan_that_keeps_too_much_is_told(scan):
    with resident(limits=ServerLimits(wire=WireLimits(scan=2**15))) as server:
        answer = Peer.to(server.port).send(*opening(scan), *scan.lines_alone).finish()
        assert "of a scan without an image, at most 32768" in answer.errors[0]
        assert "--max-memory" in answer.errors[0]
        assert answer.is_closed


def test_scans_that_are_too_large_together_are_told(scan, monkeypatch):
    monkeypatch.setattr(inbox, "MEMORY_TIMEOUT", 0.3)
    needed = image_memory(scan.header.encodings[0], SMALL["n_coils"], Settings(**CHEAP)).total
    memory = MemoryBudget(needed + 2**17)
    # As another scan does whose images are as large.
    memory.expect(needed)
    config = layouts.config(layouts.properties(trigger="measurement"))
    with resident(limits=ServerLimits(memory=memory)) as server:
        sent = (config, *opening(scan)[1:], *scan.lines_alone)
        answer = Peer.to(server.port).send(*sent).finish()
        assert "no memory for the scan within 0.3 s" in answer.errors[0] and answer.is_closed
        assert "--max-memory" in answer.errors[0]
    assert memory.n_bytes == memory.n_image_bytes == 0


def test_acs_counts_as_memory_of_a_running_scan(scan, monkeypatch):
    counted = []
    set_held = inbox.Inbox.set_held

    def spied(self, n_bytes):
        counted.append(n_bytes)
        set_held(self, n_bytes)

    monkeypatch.setattr(inbox.Inbox, "set_held", spied)
    with resident() as server:
        answer = Peer.to(server.port).send(*opening(scan), *scan.lines_alone).finish()
    assert len(answer.images) == 2
    # Noise lines stay as well; the ACS of a slice has 4 coils, 16 lines and the next one of R = 2.
    noise = np.flatnonzero(has_flag(scan.lines.heads, NOISE))
    n_acs_bytes = 2 * 8 * 4 * 17 * scan.header.encodings[0].readout_size
    assert counted[-1] == line_bytes([scan.lines.data[i] for i in noise]) + n_acs_bytes


def test_acs_that_leaves_no_room_for_an_image_is_told(scan, monkeypatch):
    # From the first image on: before it, lines could find no memory.
    n_bytes = property(lambda scan: 2**30 if scan._n_tasks else 0)
    monkeypatch.setattr(LiveScan, "n_acs_bytes", n_bytes)
    memory = MemoryBudget(2**30)
    with resident(limits=ServerLimits(memory=memory)) as server:
        answer = Peer.to(server.port).send(*opening(scan), *scan.lines_alone).finish()
        assert "the ACS of the slices so far takes 1024 MiB and an image" in answer.errors[0]
        assert "1024 MiB may be used (jrsr serve --max-memory)" in answer.errors[0]
        assert len(answer.images) == 1 and answer.is_closed
        wait_until(lambda: server.health.n_open == 0)
    assert memory.n_bytes == memory.n_image_bytes == 0


@pytest.mark.parametrize(("broken", "code"), [((1,), Exit.FALLBACK), ((0, 1), Exit.FAILED)])
def test_an_image_that_is_left_out_is_told(scan, monkeypatch, broken, code):
    whole, outcomes = Assembler._slice, []

    def assemble(self, counters, lines):
        if counters.slice in broken:
            raise ZeroDivisionError("division by zero")
        return whole(self, counters, lines)

    monkeypatch.setattr(Assembler, "_slice", assemble)
    with resident() as server:
        monkeypatch.setattr(server.health, "closed", outcomes.append)
        answer = Peer.to(server.port).send(*opening(scan), *scan.lines_alone).finish()
        wait_until(lambda: outcomes)
    assert len(answer.images) == 2 - len(broken) and answer.is_closed
    word = "image left out: " if code == Exit.FALLBACK else ""
    assert answer.errors == [f"{word}slice {broken[0]}: ZeroDivisionError: division by zero"]
    assert outcomes[0].code == code


def test_memory_comes_back(scan):
    memory = MemoryBudget()
    with resident(limits=ServerLimits(memory=memory)) as server:
        for _ in range(2):
            answer = Peer.to(server.port).send(*opening(scan), *scan.lines_alone).finish()
            assert len(answer.images) == 2
    assert memory.n_bytes == 0


def test_queries_without_end(scan):
    with resident(limits=ServerLimits(wire=WireLimits(queries=3))) as server:
        peer = Peer.to(server.port)
        answer = peer.send(*[layouts.query(i, "health") for i in range(4)]).finish()
        assert len(answer.responses) == 3 and "more than 3 queries" in answer.errors[0]


def test_texts_before_the_header_without_end(scan):
    with resident(limits=ServerLimits(wire=WireLimits(text=100))) as server:
        messages = [layouts.config_file("jrsr"), *[layouts.text("x" * 30)] * 4]
        answer = Peer.to(server.port).send(*messages).finish()
        assert "texts before the header of 530 bytes, at most 100" in answer.texts[0]


@pytest.mark.parametrize(
    "property_",
    [{"spool_dir": "/tmp"}, {"noise_file": "/x.h5"}, {"weights": "0"}, {"model": "/a.json"}],
)
def test_peers_name_no_files_of_the_server(scan, property_):
    (name,) = property_
    config = layouts.config(layouts.properties(**property_))
    with resident() as server:
        answer = Peer.to(server.port).send(config, *opening(scan)[1:], layouts.close()).finish()
        assert f"{name} names a file of the server" in answer.errors[0]
    with resident(limits=ServerLimits(peer_files=True)) as server:
        answer = Peer.to(server.port).send(config, *opening(scan)[1:], layouts.close()).finish()
        assert not any("names a file" in error for error in answer.errors)
