"""Streams and log files that cannot be written: closed, or on a full disk."""

import sys
from pathlib import Path

import pytest

from tests.helpers.commands import FAST, write_small_scan
from tests.helpers.peer import environment
from tests.helpers.processes import run_process

COMMAND = [sys.executable, "-c", "from gadget.cli.main import main; main()"]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")


def shell(line, *arguments, cwd=None):
    """Run a line of bash in which "$@" is `jrsr` with these arguments."""
    call = ["bash", "-c", line, "bash", *COMMAND, *map(str, arguments)]
    return run_process(call, env=environment(), cwd=cwd)


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        write_small_scan(tmp_path / f"{name}.h5")
    return tmp_path


def images(folder):
    return sorted(p.name for p in folder.glob("*_jrsr.h5"))


def test_a_reader_that_closes_stdout_is_no_error(folder):
    done = shell('set -o pipefail; "$@" | head -1', "settings")
    assert (done.returncode, done.stderr) == (0, "") and len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("line", ['"$@" | true; exit ${PIPESTATUS[0]}', '"$@" >&-'])
def test_work_goes_on_without_a_reader(line, folder):
    done = shell(line, "recon", folder, *FAST)
    assert (done.returncode, done.stderr) == (0, "")
    assert images(folder) == ["a_jrsr.h5", "b_jrsr.h5"]


@pytest.mark.parametrize("line", ['"$@" 2>&-', '"$@" 2>/dev/full', '"$@" <&- >&- 2>&-'])
def test_messages_that_nobody_reads_change_nothing(line, folder):
    done = shell(line, "recon", folder, *FAST, "-v")
    assert done.returncode == 0
    assert images(folder) == ["a_jrsr.h5", "b_jrsr.h5"]


@needs_full
def test_results_on_a_full_disk_are_an_error(folder):
    done = shell('"$@" >/dev/full', "settings")
    words = "jrsr: stdout cannot be written: no space left on the disk\n"
    assert (done.returncode, done.stderr) == (1, words)


@needs_full
def test_a_log_on_a_full_disk_is_one_warning(folder):
    done = shell('"$@"', "recon", folder, *FAST, "--log", FULL)
    words = "jrsr: log file /dev/full cannot be written: no space left on the disk\n"
    assert (done.returncode, done.stderr) == (0, words)
    assert len(done.stdout.splitlines()) == 2
    assert images(folder) == ["a_jrsr.h5", "b_jrsr.h5"]
