"""What goes wrong at a scanner: every promise of the failure contract has its test here or beside.

Lines that are broken, missing, twice there or out of order; peers and servers that die.
"""

import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from jrsr_core.mrd.lines.acquired import LineList
from tests.helpers import layouts
from tests.helpers.commands import FAST, jrsr, write_small_scan
from tests.helpers.mrd_scans import copied, joined, select
from tests.helpers.peer import (
    PATIENCE,
    Peer,
    environment,
    line_messages,
    resident,
    serving,
    wait_until,
)
from tests.helpers.served_scans import assert_images, serve

SLICES = 2


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("faults"), slices=SLICES, noise_scan=False)


def opening(scan):
    return layouts.config(layouts.properties()), layouts.header(scan.header.xml)


def sent(scan, lines: LineList):
    with resident() as server:
        peer = Peer.to(server.port)
        peer.send_meanwhile(*opening(scan), *line_messages(lines), layouts.close())
        return peer.finish()


def spoil(lines: LineList, which, value) -> LineList:
    made = copied(lines)
    for i in np.flatnonzero(which):
        made.data[i][:] = value
    return made


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("share", ["one line", "every line"])
def test_lines_that_are_not_finite(scan, value, share):
    """The slice is a fallback image, the other one is as it would have been."""
    second = scan.lines.heads["idx"]["slice"] == 1
    if share == "one line":
        second &= np.cumsum(second) == 5
    answer = sent(scan, spoil(scan.lines, second, value))
    assert answer.is_closed and not answer.errors and len(answer.images) == SLICES
    assert len(answer.fallbacks) == 1 and answer.images[1].attribute("JRSR_fallback")
    assert all(np.isfinite(image.pixels).all() for image in answer.images)
    assert_images(answer.images[:1], scan.expected()[:1])


def test_every_line_of_a_volume_is_not_finite(tmp_path):
    volume = serve(
        tmp_path, protocol="wall-16x", matrix="32x32", positions=8, acs=8, mask="full", slices=1
    )
    answer = sent(volume, spoil(volume.lines, volume.lines.heads["flags"] > -1, np.nan))
    assert answer.is_closed and len(answer.images) + len(answer.errors) == 1


def test_reordered_lines_make_the_same_images(scan):
    """Buckets and files may hold lines in any order."""
    order = np.random.default_rng(0).permutation(len(scan.lines.heads))
    lines = select(scan.lines, order)
    bucket = layouts.bucket(list(zip(lines.heads, lines.data, strict=True)))
    with resident() as server:
        answer = Peer.to(server.port).send(*opening(scan), bucket, layouts.close()).finish()
    images = sorted(answer.images, key=lambda image: int(image.head["slice"]))
    assert [i.pixels.tobytes() for i in images] == [pixels for _, pixels in scan.expected()]


def test_lines_sent_twice_before_the_last_are_averages(scan):
    first = np.flatnonzero(scan.lines.heads["idx"]["slice"] == 0)
    twice = joined(select(scan.lines, first[:5]), scan.lines)
    answer = sent(scan, twice)
    assert len(answer.images) == SLICES and not answer.fallbacks
    ours, whole = answer.images[0].pixels, np.frombuffer(scan.expected()[0][1], "<f4")
    np.testing.assert_allclose(ours.ravel(), whole, atol=1e-3 * whole.max())


@pytest.mark.parametrize("n_lost", [1, 6, 20])
def test_lost_lines_cost_no_image(scan, n_lost):
    """Also when the line that ends the slice is among them."""
    random = np.random.default_rng(n_lost)
    lost = random.choice(len(scan.lines.heads), n_lost, replace=False)
    lost[0] = np.flatnonzero(scan.lines.heads["idx"]["slice"] == 0)[-1]
    kept = np.setdiff1d(np.arange(len(scan.lines.heads)), lost)
    answer = sent(scan, select(scan.lines, kept))
    assert answer.is_closed and not answer.errors and len(answer.images) == SLICES


def test_a_coil_that_is_lost_in_the_middle_is_told(scan):
    lines = copied(scan.lines)
    for i in range(3 * len(lines.heads) // 4, len(lines.heads)):
        lines.heads["active_channels"][i] = 3
        lines.data[i] = lines.data[i][:3]
    answer = sent(scan, lines)
    assert not answer.errors and answer.is_closed and answer.fallbacks
    assert_images(answer.images[:1], scan.expected()[:1])
    note = "lines are left out: they have other than the 4 receiverChannels of the header"
    assert note in answer.images[-1].meta


def test_a_line_of_an_encoding_that_is_not_there_is_told(scan):
    lines = copied(scan.lines)
    lines.heads["encoding_space_ref"][-1] = 7
    answer = sent(scan, lines)
    assert answer.errors == ["lines refer to encoding 7, the header has 1"] and answer.is_closed


def test_the_clock_may_step(scan, monkeypatch):
    """An hour back and forth between any two calls: nothing is timed by the wall clock."""
    steps = iter(range(10**9))
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600 * (-1) ** next(steps))
    answer = sent(scan, scan.lines)
    assert_images(answer.images, scan.expected())


class SlowSocket:
    """A socket that takes its time to read."""

    def __init__(self, sock):
        self.sock = sock

    def recv(self, n):
        time.sleep(0.02)
        return self.sock.recv(n)

    def __getattr__(self, name):
        return getattr(self.sock, name)


def test_a_client_that_reads_slowly_gets_everything(scan):
    with resident() as server:
        peer = Peer.to(server.port)
        peer.sock = SlowSocket(peer.sock)
        peer.send(*opening(scan), *scan.lines_alone)
        answer = peer.finish()
    assert_images(answer.images, scan.expected())


MOMENTS = {
    "at its start": lambda out: True,
    "as it writes": lambda out: any(out.iterdir()),
    "at its end": lambda out: (out / "scan_jrsr.h5").exists(),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_recon_that_is_killed_leaves_no_target_and_can_be_repeated(moment, tmp_path, capfd):
    path, out = tmp_path / "scan.h5", tmp_path / "out"
    out.mkdir()
    write_small_scan(path, n_slices=3)
    command = [sys.executable, "-m", "gadget", "recon", str(path), "-o", str(out), *FAST]
    process = subprocess.Popen(command, env=environment())
    wait_until(lambda: MOMENTS[moment](out), moment)
    process.kill()
    process.wait(PATIENCE)
    target = out / "scan_jrsr.h5"
    if target.exists():
        assert moment != "at its start"
        with h5py.File(target) as file:
            assert len(file["dataset/image_1/data"]) == 3
    assert jrsr(capfd, "recon", path, "-o", out, *FAST, "--overwrite").code == 0


def test_a_server_that_is_killed_ends_its_clients_and_comes_back(scan, tmp_path):
    with serving(tmp_path) as (process, port, _):
        peer = Peer.to(port).send(*opening(scan), *line_messages(scan.lines))
        peer.wait_for(layouts.IMAGE)
        process.send_signal(signal.SIGKILL)
        peer.finish()
        assert peer.ended is not None and not peer.answer.is_closed
    with serving(tmp_path) as (process, port, _):
        answer = Peer.to(port).send(*opening(scan), *scan.lines_alone).finish()
        assert_images(answer.images, scan.expected())


def test_many_scans_leave_nothing_behind(scan):
    """The soak in small; `python -m tests.benchmarks.soak` is the long one."""
    n_files = lambda: len(os.listdir("/proc/self/fd"))  # noqa: E731, PTH208
    with resident() as server:
        Peer.to(server.port).send(*opening(scan), *scan.lines_alone).finish()
        wait_until(lambda: server.health.n_open == 0)
        before = n_files()
        for i in range(6):
            peer = Peer.to(server.port).send(*opening(scan))
            if i % 3 == 2:
                peer.drop(reset=bool(i % 2))
            else:
                answer = peer.send(*scan.lines_alone).finish()
                assert len(answer.images) == SLICES
        wait_until(lambda: server.health.n_open == 0)
        wait_until(lambda: n_files() <= before)
