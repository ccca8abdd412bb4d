"""The resident server whose slices are computed on a Ray cluster. Skipped without Ray.

One pool of two workers serves most tests; workers that are killed are replaced by the pool.
"""

import os
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")

from gadget.compute.ray import workers  # noqa: E402
from gadget.compute.ray.engine import ClusterEngine  # noqa: E402
from gadget.compute.ray.pool import Pool  # noqa: E402
from gadget.compute.ray.workers import WorkerHandle, Workers  # noqa: E402
from tests.helpers import layouts  # noqa: E402
from tests.helpers.peer import (  # noqa: E402
    PATIENCE,
    Peer,
    closed_port,
    environment,
    resident,
    serving,
    wait_until,
)
from tests.helpers.processes import run_process  # noqa: E402
from tests.helpers.served_scans import assert_images, serve  # noqa: E402

SLICES = 6


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("served"), slices=SLICES)


@pytest.fixture(scope="module")
def pool(cluster):
    with Pool("local", device="cpu") as pool:
        yield pool


@pytest.fixture
def server(pool):
    wait_until(lambda: pool.workers.n_ready == 2, "both workers")
    with resident(make=partial(ClusterEngine, pool=pool, is_resident=True)) as server:
        yield server


def begin(server, scan, lines, **properties):
    peer = Peer.to(server.port)
    config = layouts.config(layouts.properties(**properties))
    peer.send_meanwhile(config, layouts.header(scan.header.xml), *lines)
    return peer


def ask(server, scan, **properties):
    return begin(server, scan, scan.lines_alone, **properties).finish()


def signal_to(handle, number):
    """To the process of a worker."""
    os.kill(int(re.search(r"process (\d+)", handle.where)[1]), number)


@pytest.fixture
def fatal(monkeypatch):
    """Workers get a signal when they are sent what `fatal.when(number of the call, item)` says."""
    send = WorkerHandle.send

    class Fatal:
        n = 0
        number = signal.SIGKILL

        @staticmethod
        def when(n, item):
            return False

    def sending(self, item, model):
        answer = send(self, item, model)
        Fatal.n += 1
        if Fatal.when(Fatal.n, item):
            signal_to(self, Fatal.number)
        return answer

    monkeypatch.setattr(WorkerHandle, "send", sending)
    return Fatal


@pytest.mark.parametrize("trigger", ["slice", "repetition", "measurement"])
def test_images_are_those_of_the_file_in_their_order(server, scan, trigger):
    answer = ask(server, scan, trigger=trigger)
    assert answer.ids == [layouts.IMAGE] * SLICES + [layouts.CLOSE]
    assert_images(answer.images, scan.expected())


def test_many_scans_at_once_and_several_models(server, scan, pool):
    wanted = [{}, {"n_virtual_coils": 3}, {}, {"output": "complex"}]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda options: ask(server, scan, **options), wanted))
    for options, answer in zip(wanted, answers, strict=True):
        assert_images(answer.images, scan.expected(**options))
    line = server.health_line()
    assert ", 0 slices waiting, " in line and line.endswith(f", {pool}")
    assert str(pool).startswith("2 of 2 workers at local")


def test_a_volume(server, tmp_path):
    options = {"protocol": "wall-16x", "matrix": "32x32", "positions": 6, "acs": 8, "mask": "full"}
    volume = serve(tmp_path, slices=1, **options)
    assert_images(ask(server, volume).images, volume.expected())


def test_a_worker_killed_within_a_scan_costs_no_image(server, scan, pool, fatal):
    lost = pool.workers.n_lost
    fatal.when = lambda n, item: n in (2, 3)
    answer = ask(server, scan)
    assert not answer.errors and not answer.fallbacks
    assert_images(answer.images, scan.expected())
    wait_until(lambda: pool.workers.n_ready == 2, "workers replaced")
    assert pool.workers.n_lost == lost + 2
    assert f"2 of 2 workers at local, {lost + 2} lost so far" in server.health_line()


def test_a_slice_that_kills_its_workers_is_a_fallback_image(server, scan, fatal):
    fatal.when = lambda n, item: item.data.counters.slice == 1
    answer = ask(server, scan)
    assert [int(i.head["slice"]) for i in answer.images] == list(range(SLICES))
    (fallback,) = answer.fallbacks
    assert fallback is answer.images[1] and "3 workers died on it" in fallback.meta
    expected = scan.expected()
    assert_images(answer.images[2:], expected[2:])
    assert_images(answer.images[:1], expected[:1])


def test_a_worker_that_hangs_is_ended_after_the_time_limit(server, scan, pool, fatal, monkeypatch):
    monkeypatch.setattr(workers, "OVERDUE_SECONDS", 0.5)
    lost = pool.workers.n_lost
    fatal.number = signal.SIGSTOP

    def hangs(n, item):
        if n == 2:
            # For the pool alone, and once it was sent: the other slices have all the time.
            item.seconds = 0.01
        return n == 2

    fatal.when = hangs
    answer = ask(server, scan, time_limit=1000)
    (fallback,) = answer.fallbacks
    assert "time limit of 0.01 s" in fallback.meta and len(answer.images) == SLICES
    wait_until(
        lambda: pool.workers.n_ready == 2 and pool.workers.n_lost == lost + 1, "worker replaced"
    )


def test_the_time_limit_ends_a_slice(server, scan, pool):
    lost = pool.workers.n_lost
    answer = ask(server, scan, time_limit=0.00001)
    assert len(answer.fallbacks) == SLICES and "time limit of 1e-05 s" in answer.images[0].meta
    assert pool.workers.n_lost == lost


def test_bad_samples_are_a_fallback_image(server, tmp_path):
    scan = serve(tmp_path, slices=3, noise_scan=False)
    for head, data in zip(scan.lines.heads, scan.lines.data, strict=True):
        if head["idx"]["slice"] == 1:
            data[:] = np.nan
    answer = ask(server, scan)
    assert len(answer.images) == 3 and answer.fallbacks == [answer.images[1]]
    assert_images(answer.images[::2], scan.expected()[::2])


def test_a_device_that_the_workers_do_not_have_is_told(server, scan):
    answer = ask(server, scan, device="cuda")
    assert answer.errors == ["device is 'cuda', the server has cpu"] and answer.is_closed


def test_a_peer_that_goes_leaves_nothing_in_the_queue(server, scan, pool, fatal):
    fatal.number, fatal.when = signal.SIGSTOP, lambda n, item: n <= 2
    stopped = list(pool.workers.handles)
    # One sender: another one for CLOSE alone would mix it with the lines.
    messages = [*scan.lines_alone[:-1], layouts.close()]
    peer = begin(server, scan, messages, trigger="repetition")
    wait_until(server.engines.n_waiting, "more slices than workers")
    peer.drop()
    wait_until(lambda: server.health.n_open == 0 and not server.engines.n_waiting())
    for handle in stopped:
        signal_to(handle, signal.SIGCONT)
    assert_images(ask(server, scan).images, scan.expected())
    assert [h in pool.workers.handles for h in stopped] == [True, True]


def test_nobody_left_means_fallback_images_until_somebody_is(
    server, scan, pool, fatal, monkeypatch
):
    monkeypatch.setattr(workers, "TIMEOUT", 0.5)
    monkeypatch.setattr(Workers, "start_missing", lambda self: None)
    fatal.when = lambda n, item: n <= 2
    answer = ask(server, scan)
    assert not answer.errors and len(answer.images) == SLICES and answer.fallbacks
    assert "no worker of the cluster for 0.5 s" in answer.fallbacks[-1].meta
    monkeypatch.undo()
    wait_until(lambda: pool.workers.n_ready == 2, "workers replaced")
    assert_images(ask(server, scan).images, scan.expected())


def test_a_cluster_that_is_gone_is_joined_again(server, scan, pool, monkeypatch):
    """Here it is a new one; what was computed for the old one is computed again."""
    peer = Peer.to(server.port)
    config = layouts.config(layouts.properties(trigger="slice"))
    opening = (config, layouts.header(scan.header.xml))
    sender = peer.send_meanwhile(*opening, *scan.lines_alone[:-1])
    peer.wait_for(layouts.IMAGE)
    resources, failures = ray.cluster_resources, [ConnectionError("the head is gone")]

    def failing_once():
        if failures:
            raise failures.pop()
        return resources()

    monkeypatch.setattr(ray, "cluster_resources", failing_once)
    wait_until(lambda: not failures, "disconnected")
    sender.join(PATIENCE)
    peer.send(layouts.close())
    answer = peer.finish()
    assert not answer.errors and not answer.fallbacks
    assert_images(answer.images, scan.expected())
    wait_until(lambda: pool.workers.n_ready)
    assert pool.workers.n_lost >= 2


def test_sigterm_within_a_scan_lets_it_end(scan, tmp_path):
    with serving(tmp_path, "--cluster", "local") as (process, port, log):
        peer = Peer.to(port)
        opening = layouts.config(layouts.properties()), layouts.header(scan.header.xml)
        peer.send(*opening, *scan.lines_alone[:-30])
        peer.wait_for(layouts.IMAGE)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping: 1 connections" in log.read_text())
        peer.send(*scan.lines_alone[-30:])
        assert_images(peer.finish().images, scan.expected())
        assert process.wait(PATIENCE) == 0
        text = log.read_text()
    assert f"{SLICES} images, 0 of them fallback" in text and "Traceback" not in text
    assert "warm after" in text and "workers at local" in text


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense:1:2:3", "expected local, auto, host:port or ray://host:port"),
        ("ray://127.0.0.1:{port}", "no server listens there"),
        ("127.0.0.1:{port}", "no server listens there"),
    ],
)
def test_no_cluster_there(address, words):
    command = [sys.executable, "-m", "gadget", "serve", "--port", "0", "--cluster"]
    with closed_port() as port:
        address = address.format(port=port)
        done = run_process(
            [*command, address],
            env=environment(),
        )
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"jrsr: no cluster at {address}: {words}\n"


LISTENING = """
import os
from contextlib import suppress
from pathlib import Path
from gadget.compute.ray import import_cluster
module = import_cluster("local")
with module.Pool("local", device="cpu"):
    rows = [(name, row.split()) for name in ("tcp", "tcp6")
            for row in Path("/proc/net", name).read_text().splitlines()[1:]]
    places = {row[9]: row[1].rpartition(":")[0] for _, row in rows if row[3] == "0A"}
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    ours = {os.getpid()}
    while more := {p for p, parent in parents.items() if parent in ours} - ours:
        ours |= more
    for process in ours:
        with suppress(OSError):
            for link in Path(f"/proc/{process}/fd").iterdir():
                with suppress(OSError):
                    number = os.readlink(link).removeprefix("socket:[").rstrip("]")
                    if number in places:
                        print("place", places[number])
"""


def test_a_local_cluster_listens_on_the_loopback_address_alone():
    done = run_process(
        [sys.executable, "-c", LISTENING],
        env=environment(),
        check=True,
    )
    places = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("place")}
    # 127.0.0.1 and ::ffff:127.0.0.1, as the kernel writes them.
    assert places and places <= {"0100007F", "0000000000000000FFFF00000100007F"}
