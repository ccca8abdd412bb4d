"""`jrsr send` and `jrsr health`: against our server, and against servers that misbehave."""

import socket
import struct
import threading
from contextlib import contextmanager

import h5py
import numpy as np
import pydicom
import pytest

from gadget.configuration import properties_of
from gadget.server import client
from jrsr_core.mrd.files.scan import ScanFile
from tests.gadget.offline.test_recon import images_of
from tests.helpers import layouts, messages
from tests.helpers.commands import assert_one_line, jrsr
from tests.helpers.paths import ROOT
from tests.helpers.peer import PATIENCE, closed_port, resident
from tests.helpers.served_scans import serve

NODE = '<external><execute name="gadget.handler" target="reconstruct" type="python"/></external>'
PLAIN_META = b"<ismrmrdMeta><meta><name>a</name><value>M\xc3\xbcller</value></meta></ismrmrdMeta>"


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("served"), slices=3)


@pytest.fixture(scope="module")
def server():
    with resident() as server:
        yield server


def send(capfd, scan, folder, port, *options):
    return jrsr(capfd, "send", scan.path, "-o", folder / "out.h5", "--port", port, *options)


def test_the_file_is_that_of_recon(server, scan, tmp_path, capfd):
    outcome = send(capfd, scan, tmp_path, server.port)
    assert outcome.code == 0 and "3 images in" in outcome.out and outcome.err == ""
    pixels = [i.data.tobytes() for i in images_of(tmp_path / "out.h5")]
    assert pixels == [p for _, p in scan.expected()]
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]
    again = send(capfd, scan, tmp_path, server.port)
    assert_one_line(again, 2, "out.h5 exists, --overwrite replaces it")
    assert send(capfd, scan, tmp_path, server.port, "--overwrite").code == 0


def test_a_chain_that_gadgetron_has_gets_no_settings(server, scan, tmp_path, capfd):
    options = ("--config", "default.xml", "--set", "series_index=9")
    outcome = send(capfd, scan, tmp_path, server.port, *options)
    assert outcome.code == 0 and "default.xml does not get the settings" in outcome.err
    assert "does not get" not in send(capfd, scan, tmp_path, server.port, *options[:2]).err


def test_settings_of_the_scan(server, scan, tmp_path, capfd):
    outcome = send(capfd, scan, tmp_path, server.port, "--set", "series_index=9")
    assert outcome.code == 0, outcome.err
    assert len(images_of(tmp_path / "out.h5", series=9)) == 3
    outcome = send(capfd, scan, tmp_path, server.port, "--set", "modle=x", "--overwrite")
    assert outcome.code == 0
    assert (
        "server: WARNING parameter ignored: unknown property 'modle', did you mean" in outcome.err
    )
    outcome = send(capfd, scan, tmp_path, server.port, "--config", "what", "--overwrite")
    assert outcome.code == 1 and "unknown configuration 'what'" in outcome.err
    assert len(images_of(tmp_path / "out.h5")) == 3, "the earlier file stays"


def test_a_group_of_the_file_is_sent(server, scan, tmp_path, capfd):
    path = tmp_path / "several.h5"
    with h5py.File(scan.path) as source, h5py.File(path, "w") as several:
        for name in ("first", "second"):
            source.copy("dataset", several, name)
    args = ("send", path, "-o", tmp_path / "out.h5", "--port", server.port)
    words = "several.h5: several groups with acquisitions, choose one with --dataset: first, second"
    assert_one_line(jrsr(capfd, *args), 1, words)
    chosen = jrsr(capfd, *args, "--dataset", "second")
    assert chosen.code == 0 and chosen.err == ""
    pixels = [i.data.tobytes() for i in images_of(tmp_path / "out.h5")]
    assert pixels == [p for _, p in scan.expected()]
    with h5py.File(path, "r+") as several:
        several.move("first", "dataset")
    silent = jrsr(capfd, *args, "--overwrite")
    note = "several.h5: warning: group dataset is read, further scans (--dataset): second"
    assert silent.code == 0 and note in silent.err


def test_a_fallback_image_is_an_exit_code(server, scan, tmp_path, capfd):
    outcome = send(capfd, scan, tmp_path, server.port, "--set", "time_limit=1e-9")
    assert outcome.code == 3, outcome
    assert "3 images, 3 of them fallback images" in outcome.out


def test_what_is_sent_and_converted_is_no_fallback_image(server, scan, tmp_path, capfd):
    assert send(capfd, scan, tmp_path, server.port).code == 0
    assert {i.meta.get("JRSR_fallback", "") for i in images_of(tmp_path / "out.h5")} <= {""}
    assert jrsr(capfd, "convert", tmp_path / "out.h5").code == 0
    for path in (tmp_path / "out_dicom").iterdir():
        ds = pydicom.dcmread(path)
        assert ds.ImageType[-1] == "JRSR", ds.ImageType
        assert "FALLBACK" not in ds.SeriesDescription + ds.DerivationDescription


def test_health(server, capfd):
    outcome = jrsr(capfd, "health", "--port", server.port)
    assert outcome.code == 0 and outcome.out.startswith("up ") and "connections" in outcome.out


class Heard:
    """What a server was sent."""

    def __init__(self) -> None:
        self.bytes = bytearray()


@contextmanager
def answering(*answer: bytes, reads: bool = True, closes: bool = True):
    """A server that reads all, or nothing, answers this, and hangs up: its port, what it heard."""
    heard, done = Heard(), threading.Event()

    def run() -> None:
        sock, _ = listening.accept()
        with sock:
            tail = b""
            while reads and not (tail.endswith(layouts.close()) and len(heard.bytes) > 2000):
                piece = sock.recv(2**16)
                if not piece:
                    break
                heard.bytes += piece
                tail = (tail + piece)[-2:]
            for part in answer:
                sock.sendall(part)
            if not closes:
                done.wait(PATIENCE)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1], heard
        finally:
            done.set()
            thread.join(PATIENCE)


def an_image(kind: str = "<f4") -> bytes:
    return layouts.image(messages.pixels(kind, (1, 1, 6, 8)), PLAIN_META, image_series_index=2)


def test_what_it_sends(scan, tmp_path, capfd):
    with answering(an_image(), layouts.close()) as (port, heard):
        assert send(capfd, scan, tmp_path, port, "--set", "output=complex").code == 0
    parameters = layouts.text('{"parameters": {"output": "complex"}}')
    opening = layouts.config_file("jrsr") + layouts.header(scan.header.xml) + parameters
    assert bytes(heard.bytes) == opening + b"".join(scan.lines_alone)
    (image,) = images_of(tmp_path / "out.h5", series=2)
    np.testing.assert_array_equal(image.data, messages.pixels("<f4", (1, 1, 6, 8)))
    assert image.meta["a"] == "Müller"
    with ScanFile(scan.path) as file:
        assert len(file.heads) == len(scan.lines_alone) - 1


def test_a_chain_is_sent_as_it_is(scan, tmp_path, capfd):
    chain = tmp_path / "chain.xml"
    chain.write_bytes(b"<configuration>\xc3\xbc</configuration>\n")
    with answering(an_image(), layouts.close()) as (port, heard):
        assert send(capfd, scan, tmp_path, port, "--chain", chain).code == 0
    assert bytes(heard.bytes).startswith(layouts.config(chain.read_bytes()))
    outcome = send(capfd, scan, tmp_path, port, "--chain", "nowhere.xml", "--overwrite")
    assert_one_line(outcome, 2, "chain nowhere.xml: no such file")


@pytest.mark.parametrize("kind", ["<u2", "<i2", "<u4", "<f4", "<f8", "<c8", "<c16"])
def test_images_of_every_kind(scan, tmp_path, capfd, kind):
    with answering(an_image(kind), an_image(kind), layouts.close()) as (port, _):
        outcome = send(capfd, scan, tmp_path, port)
    assert outcome.code == 0, outcome.err
    for image in images_of(tmp_path / "out.h5", series=2):
        np.testing.assert_array_equal(image.data, messages.pixels(kind, (1, 1, 6, 8)))


def test_images_of_several_matrices_in_one_series(scan, tmp_path, capfd):
    """All arrive, and can be converted."""
    sizes = [(6, 8), (4, 8), (6, 8)]
    images = [
        layouts.image(
            messages.pixels("<f4", (1, 1, *size)),
            image_series_index=2,
            image_index=i,
            field_of_view=(160, 120, 5),
        )
        for i, size in enumerate(sizes, 1)
    ]
    with answering(*images, layouts.close()) as (port, _):
        outcome = send(capfd, scan, tmp_path, port)
    assert outcome.code == 0 and "3 images" in outcome.out, outcome.err
    out = ("convert", tmp_path / "out.h5", "--format", "dicom,nifti")
    assert jrsr(capfd, *out).code == 0
    made = [pydicom.dcmread(p) for p in sorted((tmp_path / "out_dicom").iterdir())]
    assert [(ds.Rows, ds.Columns) for ds in made] == sizes
    assert {ds.SeriesNumber for ds in made} == {2}
    assert len(list(tmp_path.glob("out*.nii.gz"))) == 2


FAILURES = {
    "error": ([layouts.with_length(layouts.ERROR, "kaputt", "<Q"), layouts.close()], "kaputt"),
    "text": ([layouts.text("ERROR: kaputt"), layouts.close()], "kaputt"),
    "nothing": ([layouts.close()], "the server returned no image"),
    "gone": ([], "ended without CLOSE"),
    "gone after an image": ([an_image()], "ended without CLOSE after 0 of 2 bytes"),
    "half an image": ([an_image()[:300]], "ended without CLOSE"),
    "unknown id": ([layouts.u16(4711) + bytes(100)], "message id 4711 is unknown"),
    "kind of pixel": ([layouts.image(messages.pixels(), data_type=9)], "data_type 9"),
    "attributes": ([layouts.image(messages.pixels(), b"no xml")], "not readable as XML"),
    "document type": (
        [layouts.image(messages.pixels(), b'<!DOCTYPE l [<!ENTITY a "l">]><l>&a;</l>')],
        "cannot be read: has a document type",
    ),
    # The ismrmrd package takes them for numbers of twice the size.
    "32-bit integers": ([layouts.image(messages.pixels("<i4"))], "cannot be read"),
}


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("name", FAILURES)
def test_servers_that_fail(scan, tmp_path, capfd, name, reads):
    answer, words = FAILURES[name]
    with answering(*answer, reads=reads) as (port, _):
        outcome = send(capfd, scan, tmp_path, port)
    assert outcome.code == 1 and outcome.out == ""
    if reads:
        assert words in outcome.err
    assert all(line.startswith("jrsr: ") for line in outcome.err.splitlines())
    assert not list(tmp_path.iterdir())


def test_texts_are_shown_and_other_messages_are_no_images(scan, tmp_path, capfd):
    others = [layouts.text("Grüße\0"), layouts.waveform(messages.some_waveforms()[0])]
    with answering(*others, an_image(), layouts.close()) as (port, _):
        outcome = send(capfd, scan, tmp_path, port)
    assert (outcome.code, outcome.err) == (0, "jrsr: server: Grüße\n")
    assert len(images_of(tmp_path / "out.h5", series=2)) == 1


def test_a_server_that_says_nothing(scan, tmp_path, capfd):
    with answering(closes=False) as (port, _):
        outcome = send(capfd, scan, tmp_path, port, "--timeout", "0.2")
    assert_one_line(outcome, 1, f"127.0.0.1 port {port}: no data for 0.2 s")
    assert not list(tmp_path.iterdir())


def test_no_server(scan, tmp_path, capfd):
    with closed_port() as port:
        outcome = send(capfd, scan, tmp_path, port)
        assert_one_line(outcome, 1, f"no connection to 127.0.0.1 port {port}")
        assert_one_line(jrsr(capfd, "health", "--port", port), 1, "no connection to")
    assert not list(tmp_path.iterdir())


def test_health_of_something_else(capfd, monkeypatch):
    monkeypatch.setattr(client, "CONNECT_SECONDS", PATIENCE)
    for answer, words in (
        (layouts.close(), "is no jrsr server"),
        (b"", "does not answer"),
        (b"HTTP/1.1 400", "is no jrsr server"),
    ):
        with answering(answer, reads=False, closes=not answer) as (port, _):
            assert_one_line(jrsr(capfd, "health", "--port", port), 1, words)


def test_health_of_a_server_that_is_full(capfd, scan):
    """A query needs none of the places of scans."""
    with resident(max_connections=0) as server:
        outcome = jrsr(capfd, "health", "--port", server.port)
    assert outcome.code == 0 and "0 connections, 0 slices waiting" in outcome.out


def test_options_that_make_no_sense(scan, tmp_path, capfd):
    outcome = send(capfd, scan, tmp_path, 1, "--config", "x" * 1024)
    assert_one_line(outcome, 2, "config name has 1024 bytes, at most 1023")
    outcome = jrsr(capfd, "send", tmp_path / "no.h5", "-o", tmp_path / "out.h5", "--port", 1)
    assert_one_line(outcome, 2, "no.h5: no such file")


def test_settings_are_written_into_the_chain(scan, tmp_path, capfd):
    """Gadgetron takes no parameters as JSON; comments aside, the rest of the chain is unchanged."""
    chain = ROOT / "xml_chains" / "jrsr_raw.xml"
    with answering(an_image(), layouts.close()) as (port, heard):
        options = ("--chain", chain, "--set", "crop=0.5", "--set", "model=jrsr")
        assert send(capfd, scan, tmp_path, port, *options).code == 0
    (n,) = struct.unpack_from("<I", heard.bytes, 2)
    sent = bytes(heard.bytes[6 : 6 + n])
    before = properties_of(chain.read_bytes())
    assert properties_of(sent) == before | {"crop": "0.5", "model": "jrsr"}
    assert sent.count(b'name="model"') == 1 and b"AcquisitionReader" in sent
    # The header follows, not a text.
    assert heard.bytes[6 + n] == layouts.HEADER and b'{"parameters"' not in heard.bytes


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ("<configuration><stream/></configuration>", "the chain has 0 of them"),
        ("<configuration><stream>" + 2 * NODE + "</stream></configuration>", "has 2 of them"),
        ("no xml", "chain "),
    ],
)
def test_settings_for_a_chain_without_a_place_for_them_are_refused(
    chain, words, scan, tmp_path, capfd
):
    path = tmp_path / "chain.xml"
    path.write_text(chain)
    outcome = send(capfd, scan, tmp_path, 1, "--chain", path, "--set", "crop=0.5")
    assert_one_line(outcome, 2, words)
