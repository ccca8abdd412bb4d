"""One run in a folder at a time: two would overwrite each other's checkpoints.

The lock is the kernel's and goes with the process, however that ends; the file stays and says
nothing.
"""

import fcntl
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import IO

NAME = "run.lock"


def claim(folder: Path) -> IO[str] | None:
    """Return the lock of a folder, to be closed at the end; None where the file system has none.

    Raises
    ------
    ValueError
        Another run holds it.
    """
    file = (folder / NAME).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(f"{folder}: another run is at work in this folder") from None
    except OSError:
        file.close()
        return None
    return file


# FOLDED training/stop.py: Ctrl-C and SIGTERM (batch systems send it before they kill) end a run after its step.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """Whether a signal came, between `listen` and `restore`.

    Signals reach the main thread alone; in another one nothing is changed.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: dict = {}

    def listen(self) -> None:
        """Take over the signals."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def restore(self) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
        sys.stderr.write("jrsr-train: saving after this step; once more ends it at once\n")
