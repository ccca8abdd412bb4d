"""The process of a run: alone in its folder, and stopped by a signal only between steps.

Two runs in a folder would overwrite each other's checkpoints. A step of the published networks
takes up to minutes on a CPU; a run that ended at once would lose all since its last checkpoint.
"""

import fcntl
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import IO

LOCK = "run.lock"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what batch systems send before they kill."""


def lock_folder(folder: Path) -> IO[str] | None:
    """Return the lock of a folder, to be closed at the end; None where the file system has none.

    The kernel holds the lock and releases it with the process, however that ends; the lock file
    remains and carries no information.

    Raises
    ------
    ValueError
        Another run holds it.
    """
    file = (folder / LOCK).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(f"{folder}: another run is at work in this folder") from None
    except OSError:
        file.close()
        return None
    return file


class Stopped(KeyboardInterrupt):
    """A signal ended a run after `steps` steps; its state is saved if there are any."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps


class StopSignal:
    """Notes whether a signal came, between `listen` and `restore`; a second one ends at once.

    Python delivers signals to the main thread only; in another one nothing is changed.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: dict = {}

    def listen(self) -> None:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def restore(self) -> None:
        """Install the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
        sys.stderr.write("jrsr-train: saving after this step; a second signal ends it at once\n")
