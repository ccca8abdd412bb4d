"""Hidden folders that a killed process left are removed, those in use are not."""

import errno
import fcntl
import subprocess
import sys
from contextlib import contextmanager

import pytest

from jrsr_core.common import temporaries
from jrsr_core.common.atomic import write_bytes
from tests.helpers.peer import environment

WRITER = """
import sys
from pathlib import Path
from jrsr_core.common.atomic import whole_file
with whole_file(Path(sys.argv[1]), overwrite=True) as temporary:
    temporary.write_bytes(b"half")
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def searched_anew(monkeypatch):
    monkeypatch.setattr(temporaries, "_cleaned", set())


@contextmanager
def writer(path):
    """Start a process that has half a file open."""
    command = [sys.executable, "-c", WRITER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(), **pipes) as process:
        assert process.stdout.readline() == b"open\n"
        yield process


def hidden(folder):
    return list(folder.glob(f"{temporaries.PREFIX}*"))


def test_the_next_write_removes_what_a_killed_process_left(tmp_path):
    with writer(tmp_path / "a") as process:
        process.kill()
        process.wait()
    assert len(hidden(tmp_path)) == 1
    write_bytes(tmp_path / "b", b"whole", overwrite=False)
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_process_at_work_keeps_its_folder(tmp_path):
    with writer(tmp_path / "a") as process:
        write_bytes(tmp_path / "b", b"whole", overwrite=False)
        assert len(hidden(tmp_path)) == 1
        process.communicate(b"")
    assert process.returncode == 0
    assert (tmp_path / "a").read_bytes() == b"half" and not hidden(tmp_path)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_that_was_being_replaced_is_put_back(is_there, tmp_path):
    left = tmp_path / f"{temporaries.PREFIX}0"
    (left / temporaries.OLD / "out_dicom").mkdir(parents=True)
    (left / temporaries.OLD / "out_dicom" / "old").touch()
    (left / temporaries.LOCK).touch()
    if is_there:
        (tmp_path / "out_dicom").mkdir()
    temporaries.remove_abandoned(tmp_path)
    assert (tmp_path / "out_dicom" / "old").exists() != is_there
    assert not hidden(tmp_path)


def test_a_folder_without_a_lock_is_removed_if_it_is_empty(tmp_path):
    for name in ("empty", "full"):
        (tmp_path / f"{temporaries.PREFIX}{name}").mkdir()
    (tmp_path / f"{temporaries.PREFIX}full" / "file").touch()
    temporaries.remove_abandoned(tmp_path)
    assert [p.name for p in hidden(tmp_path)] == [f"{temporaries.PREFIX}full"]


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with temporaries.hidden_folder(tmp_path) as folder:
        temporaries.remove_abandoned(tmp_path)
        assert folder.exists()
    assert not hidden(tmp_path)
