"""Files and folders that appear complete or not at all.

Everything is written in a hidden folder beside its target and renamed when it is complete. After an
error or an interrupt nothing is left, and an existing target is untouched.
"""

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from .os_errors import reason
from .temporaries import NEW, OLD, hidden_folder

SPACE_MARGIN = 2**20
"""Bytes that header, attributes and the structure of a file may take besides the pixels."""

LARGEST_PROBE = 2**26
"""Bytes that are set aside at most to find out whether they may be."""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors of a disk, a quota or a limit of file sizes that is reached."""

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Parameters of `renameat2` (Linux)."""

IsOurs = Callable[[Path], bool]


def check_target(path: Path, *, overwrite: bool, is_ours: IsOurs | None = None) -> None:
    """Raise, before any work is done, if the target may not be written.

    Parameters
    ----------
    path
        The file, or with `is_ours` the folder, to be written.
    overwrite
        Whether an existing target may be replaced.
    is_ours
        The target is a folder; tells whether an earlier run wrote a file. An existing folder that
        holds anything else is never replaced, because it was probably named by mistake.

    Raises
    ------
    FileExistsError
        The target exists and may not be replaced.
    IsADirectoryError, NotADirectoryError
        A folder is in the place of a file, or a file in the place of a folder.
    FileNotFoundError, PermissionError
        The folder around the target does not exist or is not writable.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists, --overwrite replaces it")
    if is_ours is None and path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if is_ours is not None and path.exists():
        _check_replaceable(path, is_ours)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"folder {path.parent} is not writable")


def _check_replaceable(folder: Path, is_ours: IsOurs) -> None:
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, expected a folder")
    other = next((p.name for p in folder.iterdir() if not is_ours(p)), None)
    if other is not None:
        text = f"{folder} holds {other}, which JRSR did not write: only its own files are replaced"
        raise FileExistsError(text)


def check_space(folder: Path, n_bytes: int, file_bytes: int = 0) -> None:
    """Raise `OSError` unless a file can grow from `file_bytes` by `n_bytes` and a margin.

    Neither the disk, a quota nor a limit of file sizes may stand in the way: HDF5 crashes on them.
    """
    wanted = n_bytes + SPACE_MARGIN
    text = f"no space left in {folder}: {wanted / 2**20:.1f} MiB needed"
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise OSError(f"{text}, {free / 2**20:.1f} MiB free")
    with scratch_file(folder) as probe:
        try:
            os.ftruncate(probe.fileno(), file_bytes + wanted)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(probe.fileno(), 0, min(wanted, LARGEST_PROBE))
        except OSError as error:
            if error.errno in FULL:
                raise OSError(f"{text}, {reason(error)}") from None


@contextmanager
def whole_file(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield the name of an empty hidden file, which becomes `path` on leaving without an error.

    Raises
    ------
    OSError
        As `check_target`, on entering and, if the target appeared meanwhile, on leaving; or the
        disk is full.
    """
    check_target(path, overwrite=overwrite)
    with full_disk(path), _hidden(path) as temporary:
        temporary.touch(exist_ok=False)
        yield temporary
        if overwrite:
            temporary.replace(path)
        else:
            _appear(temporary, path)


def _appear(temporary: Path, path: Path) -> None:
    """Give a file its name unless another file has it."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise FileExistsError(f"{path} appeared meanwhile, --overwrite replaces it") from None
    except OSError:
        # A file system without hard links.
        check_target(path, overwrite=False)
        temporary.rename(path)


@contextmanager
def whole_folder(path: Path, is_ours: IsOurs, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty hidden folder, which becomes `path` on leaving without an error.

    An existing folder is replaced only if `is_ours` is true for everything in it.

    Raises
    ------
    OSError
        As `check_target`, on entering and on leaving; or the disk is full.
    """
    check_target(path, overwrite=overwrite, is_ours=is_ours)
    with full_disk(path), _hidden(path) as temporary:
        temporary.mkdir()
        yield temporary
        check_target(path, overwrite=overwrite, is_ours=is_ours)
        if not path.exists():
            temporary.rename(path)
        elif not _exchange_at_once(temporary, path):
            _exchange(temporary, path)


def _exchange_at_once(new: Path, path: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, TypeError, AttributeError):  # musl, macOS
        return False
    return renameat2(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(path), RENAME_EXCHANGE) == 0


def _exchange(new: Path, path: Path) -> None:
    """Replace a folder in two steps; the old one returns to its place if that fails."""
    aside = new.parent.with_name(OLD)
    aside.mkdir()
    old = aside / path.name
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise


def scratch_file(folder: Path) -> IO[bytes]:
    """Return an open file without a name in the folder; its space is free again once it is closed.

    Raises
    ------
    PermissionError
        The folder cannot be written.
    """
    with _reported(folder):
        return tempfile.TemporaryFile(dir=folder)


def spooled_file(in_memory: int) -> IO[bytes]:
    """Return an open file whose first bytes are in memory, the whole on disk once it is larger."""
    return tempfile.SpooledTemporaryFile(max_size=in_memory)


def write_bytes(path: Path, data: bytes, *, overwrite: bool, sync: bool = False) -> None:
    """Write a file in one go; errors as `whole_file`.

    With `sync` the data is on the disk, not only in its cache, before an older file is replaced.
    """
    with whole_file(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        file.write(data)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def write_together(contents: dict[Path, bytes]) -> None:
    """Write or replace several files; none takes its name before all of them are on the disk."""
    with ExitStack() as files:
        for path, data in contents.items():
            files.enter_context(whole_file(path, overwrite=True)).write_bytes(data)


def append_bytes(path: Path, data: bytes) -> None:
    """Append to a file, which is made if it does not exist; after an error it is as it was.

    Raises
    ------
    OSError
        The file cannot be written, or the disk is full.
    """
    with full_disk(path), path.open("ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except BaseException:
            file.truncate(end)
            raise


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Name the target, instead of the hidden file or nothing, in the error of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(f"{path} cannot be written: {reason(error)}") from None


@contextmanager
def _hidden(path: Path) -> Iterator[Path]:
    """Yield the name, in a hidden folder, of what will become `path`."""
    with ExitStack() as stack:
        with _reported(path.parent):
            folder = stack.enter_context(hidden_folder(path.parent))
        yield folder / NEW / path.name


@contextmanager
def _reported(folder: Path) -> Iterator[None]:
    """Name the folder of the target, instead of the hidden file, in an error."""
    try:
        yield
    except OSError as error:
        raise PermissionError(f"folder {folder} cannot be written: {reason(error)}") from None
