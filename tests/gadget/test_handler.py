"""The `<execute>` target as Gadgetron starts it: a process at the other end of a socket."""

import io
import logging
import socket
import subprocess
import sys

import numpy as np
import pytest

from gadget.handler import _log_plainly
from tests.helpers import layouts, messages
from tests.helpers.peer import CHEAP, PATIENCE, Child, Peer, environment
from tests.helpers.served_scans import Served, assert_images, serve

LIMIT = 3.0
"""Seconds that a process may compute after its peer has gone; a half is meant."""


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("served"), slices=3)


def configuration(**more: object) -> str:
    return layouts.properties(**CHEAP | more)


def start(folder, scan: Served, config: str, **options) -> Child:
    return Child(folder, config, scan.header.xml, **options)


def test_images_are_those_of_the_file(scan, tmp_path):
    others = [layouts.waveform(w, i) for i, w in enumerate(messages.some_waveforms())]
    others += [layouts.image(messages.pixels("<i2")), messages.recon_data()]
    with start(tmp_path, scan, configuration()) as child:
        child.peer.send_meanwhile(*others, *scan.lines_alone)
        answer, code = child.finish()
    assert answer.ids == [1026, 1026, 1022, 1023, 1022, 1022, 1022, layouts.CLOSE]
    assert_images(answer.images[1:], scan.expected())
    assert code == 0, child.log.read_text()


def test_images_of_buckets_are_those_of_the_file(scan, tmp_path):
    config = configuration(trigger="bucket", prewhiten="false")
    with start(tmp_path, scan, config) as child:
        child.peer.send_meanwhile(*scan.buckets)
        answer, code = child.finish()
    assert_images(answer.images, scan.expected(prewhiten=False))
    assert len(answer.waveforms) == 2 and code == 0 and answer.is_closed


def test_a_scan_that_is_declined_while_much_is_still_coming(scan, tmp_path):
    """Nobody reads our log either: that does not change the exit code."""
    much = [layouts.image(np.zeros((1, 1, 1024, 1024), "<f4"))] * 10
    config = configuration(modle="jrsr")
    with start(tmp_path, scan, config, before="exec >/dev/full 2>/dev/full") as child:
        child.peer.send_meanwhile(*scan.lines_alone[:-1], *much, layouts.close())
        answer, code = child.finish()
    assert answer.ids == [layouts.ERROR, layouts.CLOSE]
    assert "unknown property 'modle', did you mean 'model'?" in answer.errors[0]
    assert code == 2


def test_a_module_that_cannot_be_imported(scan, tmp_path):
    (tmp_path / "shadow").mkdir()
    broken = "raise ImportError('no kernel image for this device: Müller')\n"
    (tmp_path / "shadow" / "torch.py").write_text(broken)
    with start(tmp_path, scan, configuration(), path=tmp_path / "shadow") as child:
        child.peer.send_meanwhile(*scan.lines_alone)
        answer, code = child.finish()
    assert answer.ids == [layouts.ERROR, layouts.CLOSE]
    assert answer.errors == ["ImportError: no kernel image for this device: Müller"]
    assert code == 1


def test_what_a_peer_says_steers_no_log(monkeypatch):
    """Neither a message nor the traceback below it; the format is that of Gadgetron's module."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("[ext. %(levelname)s] %(message)s"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    _log_plainly()
    try:
        raise ValueError("\x9b31m\r")
    except ValueError:
        logging.getLogger("jrsr").error("\u202e\nforged", exc_info=True)
    lines = stream.getvalue().split("\n")
    assert lines[:2] == ["[ext. ERROR] \\u202e\\nforged", "Traceback (most recent call last):"]
    assert any(line.startswith("ValueError: \\x9b31m") for line in lines)
    assert all(line.isprintable() for line in lines)


def test_a_slice_that_fails_on_a_machine_with_a_full_disk(scan, tmp_path):
    lines = list(zip(scan.lines.heads, [d.copy() for d in scan.lines.data], strict=True))
    bad = [d for h, d in lines if h["idx"]["slice"] == 1 and h["idx"]["kspace_encode_step_1"] == 16]
    bad[-1][:] = np.inf
    data = [layouts.acquisition(*line) for line in lines]
    config = configuration(spool_dir=str(tmp_path / "spool"))
    with start(tmp_path, scan, config, before="ulimit -f 10") as child:
        child.peer.send_meanwhile(*data, layouts.close())
        answer, code = child.finish()
        log = child.log.read_text()
    assert code == 3 and answer.is_closed and not answer.errors
    assert [int(i.head["slice"]) for i in answer.images] == [0, 1, 2]
    assert answer.fallbacks == [answer.images[1]]
    assert_images(answer.images[::2], scan.expected()[::2])
    assert "raw data of slice 1 not saved" in log
    assert not list((tmp_path / "spool").iterdir())


@pytest.mark.parametrize("reset", [False, True])
def test_the_peer_is_killed_in_the_middle_of_a_message(scan, tmp_path, reset):
    with start(tmp_path, scan, configuration()) as child:
        child.peer.send(*scan.lines_alone[:-2])
        # Two of three slices are answered: the process is at work, and waits for the rest.
        child.peer.wait_for(layouts.IMAGE, 2)
        child.peer.send(scan.lines_alone[-2][:500])
        child.peer.drop(reset=reset)
        assert child.cpu_seconds_to_end() < LIMIT
        assert child.process.returncode == 1


@pytest.fixture(scope="module")
def long_scan(tmp_path_factory):
    """Two volumes, each many seconds of work for the model on one thread."""
    options = {"protocol": "wall-16x", "matrix": "96x96", "positions": 64, "repetitions": 2}
    return serve(tmp_path_factory.mktemp("long"), **options, noise_scan=False)


@pytest.mark.parametrize("closes", [False, True])
def test_the_peer_is_killed_while_images_are_computed(long_scan, tmp_path, closes):
    """In the middle of the scan, and after its CLOSE, when nothing is read any more."""
    config = layouts.properties(device="cpu", model="jrsr-dc")
    with start(tmp_path, long_scan, config) as child:
        child.peer.send(*long_scan.lines_alone[: None if closes else -20])
        child.wait_for_log("model loaded")
        # Long enough for it to have begun, and far too short for the first image.
        child.wait_for_work(0.5)
        child.peer.drop()
        assert child.cpu_seconds_to_end() < LIMIT
        assert child.process.returncode == 1
        assert child.peer.answer.images == []


def test_a_program_that_listens_goes_on_after_the_scan(scan, tmp_path):
    """With `gadgetron.external.listen`, which accepts IPv6 alone; filters are a warning."""
    program = tmp_path / "program.py"
    program.write_text(
        "import logging, socket, sys\n"
        "from gadgetron.external import connection\n"
        "from gadget.handler import reconstruct\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "sock = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "with connection.Connection(sock) as conn:\n"
        "    conn.filter(lambda item: True)\n"
        "    code = reconstruct(conn)\n"
        "print('after the scan', code, flush=True)\n"
    )
    listening = socket.create_server(("127.0.0.1", 0))
    process = subprocess.Popen(
        [sys.executable, program, str(listening.getsockname()[1])],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    listening.settimeout(PATIENCE)
    with listening:
        peer = Peer(listening.accept()[0])
    peer.send(layouts.config(configuration()), layouts.header(scan.header.xml))
    peer.send_meanwhile(*scan.lines_alone)
    out, log = process.communicate(timeout=PATIENCE)
    answer = peer.finish()
    assert_images(answer.images, scan.expected())
    assert answer.ids.count(layouts.CLOSE) == 1
    assert (out, process.returncode) == ("after the scan 0\n", 0), log
    assert "filters of the connection are not used" in log
