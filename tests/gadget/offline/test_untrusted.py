"""Folders and `--untrusted`: the same images; a child that crashes, hogs or hangs is one line."""

import os
import signal
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from gadget.offline import check, scans
from gadget.offline.scans import find_scans
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.files import sandbox as sandboxes
from jrsr_core.mrd.files.sandbox import Sandbox, SandboxedScan
from jrsr_core.mrd.files.sandbox_process import SandboxLimits
from jrsr_core.mrd.files.scan import ScanFile
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.peer import environment, wait_until
from tests.helpers.processes import run_process


def test_lines_are_those_of_the_file(tmp_path):
    path = tmp_path / "scan.h5"
    write_small_scan(path)
    with ScanFile(path) as plain, Sandbox() as sandbox, SandboxedScan(path, sandbox) as sandboxed:
        assert sandboxed.header == plain.header
        np.testing.assert_array_equal(sandboxed.heads, plain.heads)
        some = np.array([3, 4, 9])
        np.testing.assert_array_equal(sandboxed.samples(some), plain.samples(some))
        child = sandboxed.process
        sandboxed.close()
        wait_until(lambda: not is_running(child))


def test_one_subprocess_serves_many_files_each_with_its_own_limits(tmp_path, monkeypatch):
    """The processor time of one file is not that of the next."""
    path = tmp_path / "scan.h5"
    write_small_scan(path)
    started = []

    class Counted(sandboxes.SandboxProcess):
        def __init__(self, limits):
            started.append(limits)
            super().__init__(limits)

    monkeypatch.setattr(sandboxes, "SandboxProcess", Counted)
    forks = set()
    with Sandbox(SandboxLimits(cpu=1)) as sandbox:
        for _ in range(5):
            with SandboxedScan(path, sandbox) as scan:
                forks.add(scan.process)
                assert len(scan.samples(np.arange(8))) == 8
            assert sandbox.holds_acquisitions(path)
    assert len(started) == 1 and len(forks) == 5


def test_a_scan_is_read_in_answers_of_limited_size(tmp_path, monkeypatch):
    path = tmp_path / "scan.h5"
    write_small_scan(path)
    monkeypatch.setattr(sandboxes, "ANSWER_BYTES", 3 * 8 * 4 * 128)
    with ScanFile(path) as plain, Sandbox() as sandbox, SandboxedScan(path, sandbox) as sandboxed:
        indices = np.arange(len(plain.heads))
        asked = []
        ask = sandboxed._process.ask
        monkeypatch.setattr(
            sandboxed._process, "ask", lambda question, n: asked.append(n) or ask(question, n)
        )
        np.testing.assert_array_equal(sandboxed.samples(indices), plain.samples(indices))
    assert max(asked) == 3 * 8 * 4 * 128 and len(asked) == -(-len(indices) // 3)


def test_a_scan_without_lines(tmp_path):
    path = tmp_path / "scan.h5"
    write_small_scan(path, lambda xml, lines: (xml, type(lines)(lines.heads[:0], [])))
    with Sandbox() as sandbox, SandboxedScan(path, sandbox) as scan:
        assert len(scan.heads) == 0


def test_which_files_are_sandboxed(tmp_path):
    folder = tmp_path / "day"
    folder.mkdir()
    for name in ("a", "b", "images"):
        write_small_scan(folder / f"{name}.h5")
    with h5py.File(folder / "images.h5", "r+") as file:
        del file["dataset/data"]
    (folder / "broken.h5").write_text("none")
    a, b, broken = (folder / f"{name}.h5" for name in ("a", "b", "broken"))
    assert find_scans([folder]) == ([a, b, broken], {a, b, broken})
    assert find_scans([a]) == ([a], frozenset())
    assert find_scans([a, folder]) == ([a, b, broken], {b, broken})
    assert find_scans([a], untrusted=True) == ([a], {a})


def test_a_file_of_a_folder_that_hangs_costs_no_other(tmp_path, capfd, monkeypatch):
    """HDF5 never returns from a heap with an object of size zero."""
    monkeypatch.setattr(scans, "LOOK_SECONDS", 10.0)
    limits = SandboxLimits(answer=3.0)
    monkeypatch.setattr(check, "Sandbox", lambda: Sandbox(limits))
    for name in ("a", "hang", "z"):
        write_small_scan(tmp_path / f"{name}.h5")
    path = tmp_path / "hang.h5"
    with path.open("r+b") as file:
        file.seek(path.read_bytes().find(b"GCOL") + 16)
        file.write(bytes(16))
    outcome = jrsr(capfd, "check", tmp_path)
    assert outcome.code == 1
    assert "hang.h5: reading the file takes longer than 3 s" in outcome.err
    assert outcome.err.count("\n") == 1
    assert "a.h5" in outcome.out and "z.h5" in outcome.out


def test_nothing_of_the_current_folder_is_executed(tmp_path, monkeypatch):
    write_small_scan(tmp_path / "scan.h5")
    for name in ("jrsr_core/__init__", "resource", "json", "numpy", "sitecustomize", "encodings"):
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), ".", *sys.path])
    with Sandbox() as sandbox, SandboxedScan(tmp_path / "scan.h5", sandbox) as scan:
        assert len(scan.heads)
    assert not (tmp_path / "executed").exists()


def test_images_are_the_same(tmp_path, capfd):
    path = tmp_path / "in" / "scan.h5"
    path.parent.mkdir()
    write_small_scan(path)
    assert jrsr(capfd, "recon", path, "-o", tmp_path / "a.h5", *FAST).code == 0
    for source in ((path.parent,), (path, "--untrusted")):
        output = tmp_path / "b.h5"
        assert jrsr(capfd, "recon", *source, "-o", output, *FAST, "--overwrite").code == 0
        with h5py.File(tmp_path / "a.h5") as a, h5py.File(output) as b:
            np.testing.assert_array_equal(a["dataset/image_1/data"], b["dataset/image_1/data"])


@pytest.mark.parametrize("command", ["check", "recon"])
def test_a_broken_file_is_one_line(command, tmp_path, capfd):
    path = tmp_path / "bad.h5"
    path.write_text("plain text")
    outcome = jrsr(capfd, command, path, "--untrusted")
    assert_one_line(outcome, 1, "bad.h5: not an HDF5 file")
    assert_one_line(jrsr(capfd, command, tmp_path / "no.h5", "--untrusted"), 2, "no such file")


def test_a_child_that_dies_is_a_bad_scan(tmp_path):
    path = tmp_path / "scan.h5"
    write_small_scan(path)
    with Sandbox() as sandbox, SandboxedScan(path, sandbox) as scan:
        os.kill(scan.process, signal.SIGSEGV)
        with pytest.raises(BadScan, match=r"crashes \(SIGSEGV\): it is broken"):
            scan.samples(np.arange(4))
        with pytest.raises(BadScan, match=r"crashes \(SIGSEGV\): it is broken"):
            scan.samples(np.arange(4, 8))


def test_a_child_that_hangs_is_ended(tmp_path):
    path = tmp_path / "scan.h5"
    write_small_scan(path)
    with Sandbox() as sandbox, SandboxedScan(path, sandbox) as scan:
        os.kill(scan.process, signal.SIGSTOP)
        scan._process.limits = SandboxLimits(answer=0.2)
        with pytest.raises(BadScan, match=r"longer than 0\.2 s"):
            scan.samples(np.arange(4))
        wait_until(lambda: not is_running(scan.process))


def is_running(process):
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_file_that_needs_much_memory(tmp_path):
    path = tmp_path / "scan.h5"
    lines = write_small_scan(path, shape=(64, 256), n_coils=16)
    assert sum(line.nbytes for line in lines.data) > 2**21
    with Sandbox() as sandbox, SandboxedScan(path, sandbox) as scan:
        assert len(scan.samples(np.arange(64))) == 64
    room = 2**18 + path.stat().st_size
    with (
        Sandbox(SandboxLimits(memory=2**18)) as sandbox,
        pytest.raises(BadScan, match=f"needs more than {room // 2**20} MiB"),
        SandboxedScan(path, sandbox) as scan,
    ):
        scan.samples(np.arange(64))


@pytest.mark.parametrize(
    ("action", "signal_or_code"),
    [
        ("while True: pass", -signal.SIGXCPU),
        ("import os; os.write(os.open('x', os.O_CREAT | os.O_WRONLY), b'1')", "Errno 27"),
    ],
)
def test_a_confined_process(action, signal_or_code, tmp_path):
    code = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    code += f"from jrsr_core.mrd.files.sandbox_child import confine\nconfine(2**26, 2)\n{action}"
    done = run_process([sys.executable, "-c", code], env=environment(), cwd=tmp_path)
    assert done.returncode == signal_or_code or str(signal_or_code) in done.stderr
    assert done.returncode != 0
