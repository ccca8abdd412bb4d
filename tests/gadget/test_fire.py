"""A server of FIRE hosts us: its connection, of which it has read configuration and header."""

import logging
import socket
import threading

import ismrmrd
import numpy as np
import pytest

from gadget import fire, openrecon
from gadget.fire import process
from gadget.server.noise_store import NoiseStore
from tests.helpers import layouts
from tests.helpers.peer import CHEAP, PATIENCE, Peer
from tests.helpers.served_scans import apart, assert_images, serve


class FireConnection:
    """The part of that server's connection that a module may use; it locks while it reads."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.lock = threading.Lock()
        self.is_exhausted = False


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("fire"), slices=2)


def served(config, metadata, *messages, process=process):
    """The answer to a client that sends this, and the exit code."""
    near, far = socket.socketpair()
    peer = Peer(near)
    sender = peer.send_meanwhile(*messages)
    try:
        code = process(FireConnection(far), config, metadata)
    finally:
        far.close()
    sender.join(PATIENCE)
    return peer.finish(), code


def test_images_are_those_of_the_file(scan):
    parameters = {"parameters": CHEAP | {"config": "gadget.fire", "sendoriginal": "False"}}
    metadata = ismrmrd.xsd.CreateFromDocument(scan.header.xml)
    answer, code = served(parameters, metadata, *scan.lines_alone)
    assert_images(answer.images, scan.expected())
    assert code == 0 and answer.is_closed and not answer.errors


def test_images_are_sent_while_the_client_waits_for_them(scan):
    """The connection of that server could not: it holds its lock while it reads."""
    near, far = socket.socketpair()
    peer = Peer(near)
    args = (FireConnection(far), CHEAP, scan.header.xml)
    thread = threading.Thread(target=process, args=args, daemon=True)
    thread.start()
    peer.send(*scan.lines_alone[:-1])
    peer.wait_for(layouts.IMAGE, 2)
    peer.send(layouts.close())
    assert peer.finish().is_closed
    thread.join(PATIENCE)
    far.close()


@pytest.mark.parametrize("config", ["gadget.fire", None, b"<configuration/>", '{"crop": 0.5}'])
def test_a_header_as_text_and_any_configuration(config, scan):
    answer, code = served(config, scan.header.xml.replace("cartesian", "radial"), layouts.close())
    assert (code, answer.texts) == (2, ["ERROR trajectory is radial, expected cartesian"])
    assert answer.is_closed and not answer.errors


def test_a_wrong_setting_reaches_the_client(scan, caplog):
    caplog.set_level(logging.ERROR)
    answer, code = served({"crop": 7}, scan.header.xml, *scan.lines_alone)
    assert code == 2 and answer.texts[0].startswith("ERROR crop is '7'")


@pytest.mark.parametrize(
    "config",
    ["cg-sense+sinc", "cg-sense+sinc.xml", {"parameters": {"config": "cg-sense+sinc"}}],
)
def test_the_name_of_a_model_means_this_model(config, scan):
    answer, code = served(config, scan.header.xml, *scan.lines_alone)
    assert code == 0
    assert {image.attribute("JRSR_model") for image in answer.images} == {"cg-sense+sinc"}


@pytest.mark.parametrize("name", ["openrecon", "gadget.openrecon"])
def test_openrecon_means_integers(name, scan):
    parameters = {"parameters": CHEAP | {"config": name}}
    answer, code = served(parameters, scan.header.xml, *scan.lines_alone)
    assert code == 0 and {image.pixels.dtype for image in answer.images} == {np.dtype("<i2")}


@pytest.mark.parametrize(
    ("parameters", "kind"),
    [({}, "<i2"), ({"config": "jrsr"}, "<i2"), ({"output": "complex"}, "<c8")],
)
def test_the_module_for_openrecon_needs_no_name(parameters, kind, scan):
    """That server puts the parameters in the place of the name."""
    parameters = {"parameters": CHEAP | parameters}
    answer, code = served(parameters, scan.header.xml, *scan.lines_alone, process=openrecon.process)
    assert code == 0 and {image.pixels.dtype for image in answer.images} == {np.dtype(kind)}


def test_a_warning_reaches_the_client(scan):
    parameters = {"parameters": CHEAP | {"config": "OpenRecon", "modle": 1}}
    answer, code = served(parameters, scan.header.xml, *scan.lines_alone)
    assert code == 0 and {image.pixels.dtype for image in answer.images} == {np.dtype("<f4")}
    assert answer.texts == [
        "WARNING parameter ignored: unknown property 'modle', did you mean 'model'?",
        "WARNING parameter ignored: config: unknown configuration 'OpenRecon', did you mean "
        "'openrecon'?",
    ]


@pytest.mark.parametrize("config", [[1], 5, {"parameters": [1]}])
def test_json_that_is_no_object(config, scan):
    answer, code = served(config, scan.header.xml, *scan.lines_alone)
    kind = "int" if config == 5 else "list"
    assert (code, answer.texts) == (2, [f"ERROR parameters are {kind}, expected a JSON object"])


@pytest.mark.parametrize("kind", [str, str.encode])
def test_a_noise_measurement_is_kept_for_a_later_scan(kind, scan, monkeypatch):
    """Its images are those of the file that has the noise lines itself."""
    monkeypatch.setattr(fire, "NOISE", NoiseStore())
    noise, image, xml = apart(scan)
    name, close = kind("default_measurement_dependencies"), layouts.close()
    answer, code = served(name, ismrmrd.xsd.CreateFromDocument(scan.header.xml), *noise, close)
    assert (code, answer.ids) == (0, [layouts.CLOSE])
    answer, code = served(CHEAP, ismrmrd.xsd.CreateFromDocument(xml), *image, close)
    assert code == 0
    assert_images(answer.images, scan.expected())


def test_an_unknown_name_is_an_error(scan):
    answer, code = served("cg-sens+sinc", scan.header.xml, *scan.lines_alone)
    assert code == 2 and not answer.images
    assert answer.texts[0].startswith("ERROR unknown configuration 'cg-sens+sinc', did you mean")


@pytest.mark.parametrize("name", ["spool_dir", "noise_file", "weights"])
def test_a_peer_may_not_name_files(name, scan, tmp_path):
    path = tmp_path / "deep" / "file"
    answer, code = served(CHEAP | {name: str(path)}, scan.header.xml, *scan.lines_alone)
    assert code == 2 and f"ERROR {name} names a file of the server" in answer.texts[0]
    assert not path.parent.exists()
