"""Wall-clock of the parts of a model."""

import time

import torch


class Clock:
    """Laps since the last one, by name; on a GPU a lap waits for the work in flight."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End the part `name`."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
