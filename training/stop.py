"""Ctrl-C and SIGTERM (batch systems send it before they kill) end a run after its step.

A step of the published networks takes up to minutes on a CPU; what a run has learnt since its last
checkpoint would be lost. A second signal does not wait.
"""

import signal
import sys
import threading
from types import FrameType

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
