"""What peers send to choose more than they may, to steer a terminal, or to cost time."""

import json
import logging
import time

import numpy as np
import pytest

from gadget.configuration import parameters_of
from gadget.errors import UsageError
from gadget.plain_text import PlainFormatter
from gadget.server.connection import ServerLimits
from gadget.server.protocol.memory import MemoryBudget
from gadget.server.session import MAX_LOGGED_TEXTS
from gadget.settings import Settings
from tests.gadget.server.test_client import an_image, answering, send
from tests.helpers import layouts
from tests.helpers.commands import assert_one_line, jrsr
from tests.helpers.peer import CHEAP, Peer, resident, wait_until
from tests.helpers.served_scans import assert_images, serve

STEERING = "\x1b[31m\x1b]0;t\x07\x9b31m\u202e\u2028\r\n"


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("hostile"), slices=2)


@pytest.fixture(scope="module")
def server():
    with resident() as server:
        yield server


def ask(server, scan, config, *data, header=None):
    header = layouts.header(header or scan.header.xml)
    return (
        Peer.to(server.port).send(layouts.config(config), header, *data, layouts.close()).finish()
    )


@pytest.mark.parametrize("value", ["0", "false", "[]", "null", "{}", "1", "true", '["/tmp"]'])
@pytest.mark.parametrize("name", ["spool_dir", "spooldir", "noise_file", "weights", "model"])
def test_only_text_names_a_file(name, value):
    with pytest.raises(UsageError, match=r"\w+ is .* in JSON, expected text"):
        parameters_of(f'{{"{name}": {value}}}')


@pytest.mark.parametrize("value", ["0", "false", "[]", "null"])
def test_no_folder_appears(server, scan, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = ask(server, scan, f'{{"spool_dir": {value}}}', *scan.lines_alone[:-1])
    told = answer.errors + answer.texts
    assert f"spool_dir is {value} in JSON, expected text" in told[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ['{"kernel_width": [6]}', '{"prewhiten": null}'])
def test_lists_and_null_are_no_values(text):
    with pytest.raises(UsageError, match="in JSON, expected"):
        parameters_of(text)


@pytest.mark.parametrize(
    "device", ["cuda", "cpu,cpu", ",".join(["cpu"] * 3000), "cuda:7,cpu", "cuda:99999999999999999"]
)
def test_peers_choose_among_the_devices_of_the_server(scan, device):
    loaded = []

    def make(settings):
        loaded.append(settings.device)
        raise ValueError("not loaded in this test")

    with resident(make=make) as server:
        answer = ask(server, scan, layouts.properties(device=device))
        assert answer.errors[0].startswith("device is 'c")
        assert answer.errors[0].endswith(", the server has cpu") and len(answer.errors[0]) < 200
        assert not loaded
        for device in ("cpu", "auto"):
            assert ask(server, scan, layouts.properties(device=device)).errors
        assert loaded == ["cpu", "cpu"]


def test_peers_choose_some_of_several_devices(scan):
    loaded = []

    def make(settings):
        loaded.append(settings.device)
        raise ValueError("not loaded in this test")

    with resident(Settings(**CHEAP | {"device": "cuda:0, cuda:1"}), make=make) as server:
        for device in ("cuda:1", "cuda:1,cuda:0", "auto"):
            ask(server, scan, layouts.properties(device=device))
        assert loaded == ["cuda:1", "cuda:1,cuda:0", "cuda:0, cuda:1"]
        assert (
            "the server has cuda:0, cuda:1"
            in ask(server, scan, layouts.properties(device="cpu")).errors[0]
        )


def huge(scan, size=16384):
    matrix = f"<matrixSize><x>{size}</x><y>{size}</y><z>1</z></matrixSize>"
    head, _, rest = scan.header.xml.partition("<matrixSize>")
    return head + matrix + rest.partition("</matrixSize>")[2]


def test_a_huge_matrix_is_declined_before_it_is_begun(scan):
    memory = MemoryBudget(2**30)
    with resident(limits=ServerLimits(memory=memory)) as server:
        lines = [m for m in scan.lines_alone[:-1]][-3:]
        answer = ask(server, scan, layouts.properties(), *lines, header=huge(scan))
        assert "16384 x 16384 x 1 samples of 4 coils needs about" in answer.errors[0]
        assert "1024 MiB may be used (jrsr serve --max-memory)" in answer.errors[0]
        wait_until(lambda: server.health.n_open == 0)
        assert memory.n_bytes == memory.n_image_bytes == 0
        assert_images(
            ask(server, scan, layouts.properties(), *scan.lines_alone[:-1]).images, scan.expected()
        )


@pytest.mark.parametrize("value", ["1e300", "-1e300", "1e10"])
@pytest.mark.parametrize("name", ["center", "minimum", "maximum"])
def test_numbers_beyond_any_counter(server, scan, name, value):
    head, _, rest = scan.header.xml.partition("<kspace_encoding_step_1>")
    before, _, after = rest.partition(f"<{name}>")
    xml = f"{head}<kspace_encoding_step_1>{before}<{name}>{value}<{after.partition('<')[2]}"
    answer = ask(server, scan, layouts.properties(), *scan.lines_alone[:-1], header=xml)
    assert f"kspace_encoding_step_1/{name} is {float(value):g}, expected" in answer.errors[0]
    assert answer.is_closed


@pytest.mark.parametrize("config", ["xml", "json"])
def test_a_long_property_name_is_shortened(server, scan, config):
    name = "x" * 900_000
    text = layouts.properties(**{name: 1}) if config == "xml" else f'{{"{name}": 1}}'
    answer = ask(server, scan, text)
    told = answer.errors + answer.texts
    assert "unknown property 'xxxx" in told[0] and "... (900000 characters)" in told[0]
    assert len(told[0]) < 300


def test_a_long_value_is_shortened(server, scan):
    (told,) = ask(server, scan, layouts.properties(model="x" * 900_000)).errors
    assert "unknown model 'xxxx" in told and len(told) < 3000


def test_what_a_peer_says_steers_no_log(server, scan, caplog):
    caplog.set_level(logging.INFO, "jrsr")
    ask(server, scan, layouts.properties(), layouts.text(STEERING))
    ask(server, scan, layouts.properties(model="a\x85\u202e\x9b31m"))
    formatter = PlainFormatter("%(levelname)s [%(threadName)s] %(message)s")
    lines = [formatter.format(record) for record in caplog.records]
    assert any("text from the peer: \\x1b[31m" in line for line in lines)
    assert all(part.isprintable() for line in lines for part in line.splitlines())
    said = [r.getMessage() for r in caplog.records]
    assert any("text from the peer" in s for s in said)
    assert all(s.isprintable() for s in said if "text from" in s)


def test_what_a_server_says_steers_no_terminal(scan, tmp_path, capfd):
    with answering(layouts.text(STEERING), an_image(), layouts.close()) as (port, _):
        outcome = send(capfd, scan, tmp_path, port)
    assert outcome.code == 0
    (line,) = outcome.err.split("\n")[:-1]
    assert line.isprintable() and line.startswith("jrsr: server: \\x1b[31m")
    with answering(layouts.text("ERROR " + STEERING), layouts.close()) as (port, _):
        assert_one_line(send(capfd, scan, tmp_path, port, "--overwrite"), 1, "\\x1b[31m")


@pytest.mark.parametrize("option", [(), ("--json",)])
@pytest.mark.parametrize("is_report", [False, True])
def test_the_health_of_a_hostile_server_steers_no_terminal(is_report, option, server, capfd):
    state = {"peer": STEERING, "model": STEERING, "seconds": 1e300, "images": 1, "expected": None}
    state |= {"fallback": 0, "idle_seconds": None}
    report = server.health_report() | {"notes": [STEERING], "scans": [state]}
    data = (json.dumps(report) if is_report else STEERING).encode()
    answer = layouts.u16(layouts.RESPONSE) + layouts.u64(1, len(data)) + data
    with answering(answer, reads=False, closes=False) as (port, _):
        outcome = jrsr(capfd, "health", "--port", port, *option)
    assert outcome.code == (0 if is_report else 1)
    shown = (outcome.out + outcome.err).splitlines()
    assert shown and all(line.isprintable() for line in shown)


def test_many_empty_texts_cost_little_and_nothing_once_the_peer_is_gone(server, scan, caplog):
    caplog.set_level(logging.INFO, "jrsr")
    texts = [layouts.text("") * 1000] * 100
    peer = Peer.to(server.port)
    start = time.process_time()
    peer.send_meanwhile(
        layouts.config(layouts.properties()), layouts.header(scan.header.xml), *texts
    )
    peer.drop()
    wait_until(lambda: server.health.n_open == 0)
    # Of this process: a second per hundred thousand is several times what it takes.
    assert time.process_time() - start < 10
    said = [r for r in caplog.records if "text from the peer" in r.getMessage()]
    assert len(said) <= MAX_LOGGED_TEXTS


@pytest.mark.parametrize("opening", ["client", "handshake"])
def test_empty_texts_without_end_are_told(scan, opening):
    from gadget.server.protocol.wire import WireLimits

    limits = ServerLimits(wire=WireLimits(text=2**17))
    with resident(limits=limits) as server:
        texts = [layouts.text("")] * 1000
        header = layouts.header(scan.header.xml)
        first = [header, *texts] if opening == "client" else [*texts, header]
        answer = (
            Peer.to(server.port).send(layouts.config_file("jrsr"), *first, layouts.close()).finish()
        )
        assert "texts" in answer.texts[0] and "at most 131072 are accepted" in answer.texts[0]


def test_a_bucket_of_many_lines_keeps_each_by_itself():
    """One line that is kept does not keep the memory of the others."""
    from gadget.server.protocol.connection import read_payload
    from tests.gadget.scan.test_memory import Bytes
    from tests.helpers import messages

    class Stream(Bytes):
        def number(self, kind):
            return kind.unpack(self.read(kind.size))[0]

    item = read_payload(layouts.BUCKET, Stream(layouts.bucket(messages.some_lines(4))[2:]))
    bases = [np.asarray(line).base for line in item.lines.data]
    assert len({id(base) for base in bases}) == 4
