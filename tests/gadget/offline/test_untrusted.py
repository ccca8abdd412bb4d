"""`--untrusted`: the same images, and a child that crashes, hogs or hangs is one line."""

import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.files.sandbox import SandboxedScan, SandboxLimits
from jrsr_core.mrd.files.scan import ScanFile
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.peer import environment


def test_lines_are_those_of_the_file(tmp_path):
    path = tmp_path / "scan.h5"
    write_small_scan(path)
    with ScanFile(path) as plain, SandboxedScan(path) as sandboxed:
        assert sandboxed.header == plain.header
        np.testing.assert_array_equal(sandboxed.heads, plain.heads)
        some = np.array([3, 4, 9])
        np.testing.assert_array_equal(sandboxed.samples(some), plain.samples(some))
        child = sandboxed.process
    assert child.poll() is not None


def test_nothing_of_the_current_folder_is_executed(tmp_path, monkeypatch):
    write_small_scan(tmp_path / "scan.h5")
    for name in ("jrsr_core/__init__", "resource", "json", "numpy", "sitecustomize", "encodings"):
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), ".", *sys.path])
    with SandboxedScan(tmp_path / "scan.h5") as scan:
        assert len(scan.heads)
    assert not (tmp_path / "executed").exists()


def test_images_are_the_same(tmp_path, capfd):
    path = tmp_path / "in" / "scan.h5"
    path.parent.mkdir()
    write_small_scan(path)
    assert jrsr(capfd, "recon", path, "-o", tmp_path / "a.h5", *FAST).code == 0
    outcome = jrsr(capfd, "recon", path.parent, "-o", tmp_path / "b.h5", *FAST, "--untrusted")
    assert outcome.code == 0
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
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
    with SandboxedScan(path) as scan:
        scan.process.send_signal(signal.SIGSEGV)
        with pytest.raises(BadScan, match=r"crashes \(SIGSEGV\): it is broken"):
            scan.samples(np.arange(4))


def test_a_child_that_hangs_is_ended(tmp_path):
    path = tmp_path / "scan.h5"
    write_small_scan(path)
    with SandboxedScan(path, SandboxLimits(answer=20.0)) as scan:
        scan.process.send_signal(signal.SIGSTOP)
        scan.limits = SandboxLimits(answer=0.2)
        with pytest.raises(BadScan, match=r"longer than 0\.2 s"):
            scan.samples(np.arange(4))


def test_a_file_that_needs_much_memory(tmp_path):
    path = tmp_path / "scan.h5"
    lines = write_small_scan(path, shape=(64, 256), n_coils=16)
    assert sum(line.nbytes for line in lines.data) > 2**21
    with SandboxedScan(path) as scan:
        assert len(scan.samples(np.arange(64))) == 64
    with (
        pytest.raises(BadScan, match="needs more than 0 MiB"),
        SandboxedScan(path, SandboxLimits(memory=2**18)) as scan,
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
    code += f"from jrsr_core.mrd.files.sandbox import confine\nconfine(2**26, 2)\n{action}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=tmp_path, capture_output=True
    )
    assert done.returncode == signal_or_code or str(signal_or_code) in done.stderr.decode()
    assert done.returncode != 0
