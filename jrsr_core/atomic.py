"""Files and folders that appear complete or not at all.

Everything is written under a hidden name in the folder of its target and renamed when it is
complete. After an error or an interrupt nothing is left, and an existing target is untouched.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

SPACE_MARGIN = 2**20
"""Bytes that header, attributes and the structure of a file may take besides the pixels."""


def check_target(path: Path, *, overwrite: bool, folder_of: str = "") -> None:
    """Raise, before any work is done, if the target may not be written.

    Parameters
    ----------
    path
        The file, or with `folder_of` the folder, to be written.
    overwrite
        Whether an existing target may be replaced.
    folder_of
        The target is a folder of files with this suffix. An existing folder that holds anything
        else is never replaced, because it was probably named by mistake.

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
    if not folder_of and path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if folder_of and path.exists():
        _check_replaceable(path, folder_of)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"folder {path.parent} is not writable")


def _check_replaceable(folder: Path, suffix: str) -> None:
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, expected a folder")
    if others := [p.name for p in folder.iterdir() if p.suffix != suffix]:
        raise FileExistsError(f"{folder} holds {others[0]}, only {suffix} files are replaced")


def check_space(folder: Path, n_bytes: int) -> None:
    """Raise `OSError` unless `n_bytes` and a margin are free: HDF5 crashes on a full disk."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes + SPACE_MARGIN:
        needed = (n_bytes + SPACE_MARGIN) / 2**20
        text = f"no space left in {folder}: {needed:.1f} MiB needed, {free / 2**20:.1f} MiB free"
        raise OSError(text)


@contextmanager
def whole_file(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield the name of an empty hidden file, which becomes `path` on leaving without an error.

    Raises
    ------
    OSError
        As `check_target`, on entering and, if the target appeared meanwhile, on leaving.
    """
    check_target(path, overwrite=overwrite)
    with _reported(path.parent):
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
        )
    temporary = Path(name)
    try:
        os.close(handle)
        temporary.chmod(0o666 & ~_umask())
        yield temporary
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} appeared meanwhile, --overwrite replaces it")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, suffix: str, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty hidden folder, which becomes `path` on leaving without an error.

    An existing folder is replaced only if it holds nothing but files of this `suffix`.

    Raises
    ------
    OSError
        As `check_target`, on entering and on leaving.
    """
    check_target(path, overwrite=overwrite, folder_of=suffix)
    temporary = _hidden_folder(path)
    try:
        yield temporary
        check_target(path, overwrite=overwrite, folder_of=suffix)
        if path.exists():
            _exchange(temporary, path)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exchange(new: Path, path: Path) -> None:
    """Replace a folder; the old one returns to its place if that fails."""
    aside = _hidden_folder(path)
    old = aside / path.name
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    finally:
        shutil.rmtree(aside)


def scratch_file(folder: Path) -> IO[bytes]:
    """Return an open file without a name in the folder; its space is free again once it is closed.

    Raises
    ------
    PermissionError
        The folder cannot be written.
    """
    with _reported(folder):
        return tempfile.TemporaryFile(dir=folder)


def write_bytes(path: Path, data: bytes, *, overwrite: bool, sync: bool = False) -> None:
    """Write a file in one go; errors as `whole_file`.

    With `sync` the data is on the disk, not only in its cache, before an older file is replaced.
    """
    with whole_file(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        file.write(data)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def _hidden_folder(path: Path) -> Path:
    with _reported(path.parent):
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    folder.chmod(0o777 & ~_umask())
    return folder


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


@contextmanager
def _reported(folder: Path) -> Iterator[None]:
    """Name the folder of the target, instead of the hidden file, in an error."""
    try:
        yield
    except OSError as error:
        raise PermissionError(f"folder {folder} cannot be written: {error.strerror}") from None
