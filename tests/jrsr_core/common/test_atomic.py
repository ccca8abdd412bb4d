"""Files and folders that appear complete or not at all."""

import os
import shutil
from pathlib import Path

import pytest

from jrsr_core.common import atomic
from jrsr_core.common.atomic import (
    check_space,
    check_target,
    scratch_file,
    whole_file,
    whole_folder,
    write_bytes,
)

OLD, NEW = b"old", b"new"


def make_file(path, content):
    path.write_bytes(content)


def make_folder(path, content):
    path.mkdir(exist_ok=True)
    (path / "a.dcm").write_bytes(content)


def content_of(path):
    return (path / "a.dcm" if path.is_dir() else path).read_bytes()


def is_dcm(path):
    return path.suffix == ".dcm"


def file_at(path, overwrite):
    return whole_file(path, overwrite=overwrite)


def folder_at(path, overwrite):
    return whole_folder(path, is_dcm, overwrite=overwrite)


KINDS = pytest.mark.parametrize(
    ("target", "fill"), [(file_at, make_file), (folder_at, make_folder)]
)


@KINDS
def test_the_target_appears_when_it_is_complete(target, fill, tmp_path):
    path = tmp_path / "out.bin"
    with target(path, False) as temporary:
        fill(temporary, NEW)
        assert not path.exists()
        (hidden,) = tmp_path.iterdir()
        assert hidden.name.startswith(".") and hidden in temporary.parents
        assert temporary.name == path.name
    assert content_of(path) == NEW
    assert list(tmp_path.iterdir()) == [path]


@KINDS
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_nothing_and_keeps_what_was_there(target, fill, error, tmp_path):
    path = tmp_path / "out.bin"
    with pytest.raises(error), target(path, False) as temporary:
        fill(temporary, NEW)
        raise error
    assert not list(tmp_path.iterdir())
    fill(path, OLD)
    with pytest.raises(error), target(path, True) as temporary:
        fill(temporary, NEW)
        raise error
    assert content_of(path) == OLD and list(tmp_path.iterdir()) == [path]


@KINDS
def test_an_existing_target_is_replaced_only_with_overwrite(target, fill, tmp_path):
    path = tmp_path / "out.bin"
    fill(path, OLD)
    with pytest.raises(FileExistsError, match=r"out\.bin exists, --overwrite"), target(path, False):
        raise AssertionError
    assert content_of(path) == OLD
    with target(path, True) as temporary:
        fill(temporary, NEW)
        assert content_of(path) == OLD
    assert content_of(path) == NEW and list(tmp_path.iterdir()) == [path]


@KINDS
def test_a_target_that_appeared_meanwhile_is_kept(target, fill, tmp_path):
    path = tmp_path / "out.bin"
    with pytest.raises(FileExistsError, match="--overwrite"), target(path, False) as temporary:
        fill(temporary, NEW)
        fill(path, OLD)
    assert content_of(path) == OLD and list(tmp_path.iterdir()) == [path]


@KINDS
def test_permissions_follow_the_umask(target, fill, tmp_path):
    path = tmp_path / "out.bin"
    before = os.umask(0o027)
    try:
        with target(path, False) as temporary:
            fill(temporary, NEW)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640)


@KINDS
def test_the_umask_of_the_process_is_never_changed(target, fill, tmp_path, monkeypatch):
    # Files of other threads would get the wrong permissions meanwhile.
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("umask changed"))
    with target(tmp_path / "out.bin", False) as temporary:
        fill(temporary, NEW)


@KINDS
@pytest.mark.parametrize("length", [200, 255])
def test_names_as_long_as_the_file_system_takes(target, fill, length, tmp_path):
    path = tmp_path / ("x" * length)
    with target(path, False) as temporary:
        fill(temporary, NEW)
    assert content_of(path) == NEW


def test_a_folder_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "out_dicom"
    make_folder(path, OLD)
    monkeypatch.setattr(atomic, "_exchange", lambda *_: pytest.fail("two steps"))
    with folder_at(path, True) as temporary:
        make_folder(temporary, NEW)
    assert content_of(path) == NEW and list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_in_two_steps_where_the_system_cannot(tmp_path, monkeypatch):
    path = tmp_path / "out_dicom"
    make_folder(path, OLD)
    monkeypatch.setattr(atomic, "_exchange_at_once", lambda *_: False)
    with folder_at(path, True) as temporary:
        make_folder(temporary, NEW)
    assert content_of(path) == NEW and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_replaced_is_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange_at_once", lambda *_: False)
    path = tmp_path / "out_dicom"
    make_folder(path, OLD)
    rename = Path.rename

    def fail_onto_target(self, target):
        if target == path and self.parent.name == "new":
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_onto_target)
    with pytest.raises(OSError, match="no"), folder_at(path, True) as temporary:
        make_folder(temporary, NEW)
    assert content_of(path) == OLD and list(tmp_path.iterdir()) == [path]


def test_targets_that_cannot_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").touch()
    (tmp_path / "file").touch()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_target(tmp_path / "folder", overwrite=True)
    with pytest.raises(NotADirectoryError, match="is a file, expected a folder"):
        check_target(tmp_path / "file", overwrite=True, is_ours=is_dcm)
    with pytest.raises(FileExistsError, match=r"holds notes.txt, which JRSR did not write"):
        check_target(tmp_path / "folder", overwrite=True, is_ours=is_dcm)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        check_target(tmp_path / "none" / "file", overwrite=False)


def test_a_folder_that_cannot_take_files_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match=f"folder {tmp_path} cannot be written: no space"):
        write_bytes(tmp_path / "out", NEW, overwrite=False)


def test_room_for_a_file_and_a_margin(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=3 * 2**20))
    check_space(tmp_path, 2**21)
    with pytest.raises(OSError, match=r"no space left in .*: 3.0 MiB needed, 3.0 MiB free"):
        check_space(tmp_path, 2**21 + 1)


@pytest.mark.parametrize("sync", [False, True])
def test_bytes_in_one_go(sync, tmp_path):
    path = tmp_path / "out"
    write_bytes(path, OLD, overwrite=False, sync=sync)
    write_bytes(path, NEW, overwrite=True, sync=sync)
    assert path.read_bytes() == NEW and list(tmp_path.iterdir()) == [path]


def test_a_scratch_file_has_no_name(tmp_path):
    with scratch_file(tmp_path) as file:
        file.write(NEW)
        assert not list(tmp_path.iterdir())
