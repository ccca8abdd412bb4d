"""`jrsr serve` as a process: signals, and what its clients see of its end."""

import logging
import signal
import subprocess
import sys

import pytest

from gadget.errors import UsageError
from gadget.server.serve import serve_until_stopped
from gadget.settings import Settings
from jrsr_core.common.temporaries import PREFIX
from tests.helpers import layouts
from tests.helpers.peer import CHEAP, PATIENCE, Peer, environment, serving, wait_until
from tests.helpers.processes import run_process
from tests.helpers.served_scans import assert_images, serve


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("served"), slices=4, repetitions=3)


def jrsr(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "gadget", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_sigterm_under_load_answers_every_slice_that_was_received(scan, tmp_path):
    opening = layouts.config(layouts.properties()) + layouts.header(scan.header.xml)
    with serving(tmp_path, "--grace", "1000") as (process, port, log):
        peers = [Peer.to(port) for _ in range(3)]
        for peer in peers:
            peer.send_meanwhile(opening, *scan.lines_alone)
        # One of them has not sent its last lines yet: its scan goes on.
        late = Peer.to(port).send(opening, *scan.lines_alone[:-30])
        for peer in (*peers, late):
            peer.wait_for(layouts.IMAGE)
        process.send_signal(signal.SIGTERM)
        late.send(*scan.lines_alone[-30:])
        for peer in (*peers, late):
            assert_images(peer.finish().images, scan.expected())
            assert peer.answer.is_closed
        assert process.wait(PATIENCE) == 0
        text = log.read_text()
    assert "48 images, 0 of them fallback" in text and "Traceback" not in text


def test_the_client_of_a_server_that_is_killed_is_told(scan, tmp_path):
    out = tmp_path / "out.h5"
    with serving(tmp_path) as (process, port, _):
        # Stopped, the server takes connections and does not answer.
        process.send_signal(signal.SIGSTOP)
        sending = jrsr("send", scan.path, "-o", out, "--port", port)
        wait_until(lambda: list(tmp_path.glob(f"{PREFIX}*")), "the file that is written")
        process.send_signal(signal.SIGKILL)
        _, words = sending.communicate(timeout=PATIENCE)
        assert sending.returncode == 1
        assert f"127.0.0.1 port {port}: connection" in words and len(words.splitlines()) == 1
        assert sorted(p.name for p in tmp_path.iterdir()) == ["serve.log"]


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("recon", "{scan}")])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--cluster", "local"),
            'jrsr: --cluster needs Ray: pip install "gadgetron-jrsr[cluster]"',
        ),
        (("--gpus-per-worker", "0.5"), "jrsr: gpus-per-worker is 0.5, but --cluster is not given"),
    ],
)
def test_a_cluster_needs_its_extra_and_its_option(command, arguments, words, scan, tmp_path):
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError(\"No module named 'ray'\")")
    command = [part.format(scan=scan.path) for part in command]
    done = run_process(
        [sys.executable, "-m", "gadget", *command, *arguments],
        env=environment(tmp_path),
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(words), done.stderr


def test_a_server_that_cannot_start_leaves_the_log_as_it_was():
    before = logging.getLogger().handlers[:], logging.getLogger().level
    with pytest.raises(UsageError):
        serve_until_stopped(Settings(**CHEAP), "192.0.2.1", 0)
    assert (logging.getLogger().handlers, logging.getLogger().level) == before
