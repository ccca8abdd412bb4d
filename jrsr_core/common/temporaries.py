"""Hidden folders in which files grow until they are complete.

A folder is locked while it is in use. The kernel releases the lock however the process ends, so a
folder without its lock was left by a process that was killed; the next process that writes beside
it removes it.
"""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".jrsr-"
LOCK, NEW, OLD = "lock", "new", "old"
"""Within a hidden folder: its lock, the folder of what is made, the folder of what is replaced."""

_cleaned: set[Path] = set()
"""Folders that this process has searched for abandoned ones."""


@contextmanager
def hidden_folder(parent: Path) -> Iterator[Path]:
    """Yield a new hidden folder with an empty folder `NEW`; it is removed with its content.

    Raises
    ------
    OSError
        The parent cannot be written.
    """
    place = parent.resolve()
    if place not in _cleaned:
        _cleaned.add(place)
        remove_abandoned(parent)
    folder, lock = _locked_folder(parent)
    try:
        (folder / NEW).mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned(parent: Path) -> None:
    """Remove the hidden folders of processes that were killed; a replaced folder is put back.

    A folder stays where the file system has no locks, or belongs to another user.
    """
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder / LOCK, os.O_RDWR)
        except FileNotFoundError:
            # Killed between the folder and its lock; one that is in use is made again.
            with suppress(OSError):
                folder.rmdir()
            continue
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            _put_back(folder / OLD, parent)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _put_back(aside: Path, parent: Path) -> None:
    for old in aside.glob("*"):
        if not (parent / old.name).exists():
            old.rename(parent / old.name)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """Make a hidden folder; return it with the descriptor of its lock."""
    while True:
        folder = parent / f"{PREFIX}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileNotFoundError:
            continue
        except BaseException:
            with suppress(OSError):
                folder.rmdir()
            raise
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = (folder / LOCK).exists()
        except OSError as error:
            # Another process took it for an abandoned one; or there are no locks at all.
            is_ours = error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
        if is_ours:
            return folder, lock
        os.close(lock)
