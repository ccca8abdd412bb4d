"""Files that appear complete or not at all: written beside the target, then renamed."""

import os
import shutil
import tempfile
from pathlib import Path

SPACE_MARGIN = 2**20
"""Bytes that header, attributes and the structure of a file may take besides the pixels."""


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise before any work is done if `path` may not be written."""
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists, --overwrite replaces it")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"folder {path.parent} is not writable")


def check_space(folder: Path, n_bytes: int) -> None:
    """Raise `OSError` unless so many bytes, and a margin, are free: HDF5 crashes on a full disk."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes + SPACE_MARGIN:
        needed = (n_bytes + SPACE_MARGIN) / 2**20
        text = f"no space left in {folder}: {needed:.1f} MiB needed, {free / 2**20:.1f} MiB free"
        raise OSError(text)


def temporary_beside(path: Path) -> Path:
    """Create an empty hidden file in the folder of `path`, so that a rename can finish the job."""
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
        )
    except OSError as error:
        raise PermissionError(f"folder {path.parent} cannot be written: {error.strerror}") from None
    os.close(handle)
    umask = os.umask(0)
    os.umask(umask)
    Path(name).chmod(0o666 & ~umask)
    return Path(name)


def write_whole(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write a file that appears complete or not at all; raises as `publish`."""
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(data)
        publish(temporary, path, overwrite=overwrite)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Move a finished file to its place; a file that appeared meanwhile is not replaced."""
    if path.exists() and not overwrite:
        temporary.unlink()
        raise FileExistsError(f"{path} appeared meanwhile, --overwrite replaces it")
    temporary.replace(path)
