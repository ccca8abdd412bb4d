"""Engines of a server: one per model and its settings, shared by all scans that ask for them."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields

from .engine import Engine
from .settings import Settings

MAX_ENGINES = 4
SCAN_ONLY = (
    "maps",
    "on_failure",
    "output",
    "series_index",
    "trigger",
    "time_limit",
    "spool_dir",
    "prewhiten",
    "noise_file",
)
"""Settings that need no engine of their own."""


class Engines:
    """Engines by the settings they were made with; the one unused for longest goes first."""

    def __init__(self, make: Callable[[Settings], Engine]) -> None:
        self._make = make
        self._kept: OrderedDict[tuple, Engine] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, settings: Settings) -> Engine:
        """Return the engine of these settings; raises as the making of one."""
        names = (f.name for f in fields(settings) if f.name not in SCAN_ONLY)
        # "none" and "" are the same maps.
        key = (*(getattr(settings, name) for name in names), tuple(settings.map_names))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._make(settings)
                while len(self._kept) > MAX_ENGINES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def waiting(self) -> int:
        """Slices that wait in all queues."""
        # Without the lock: health is asked for while a model is loaded.
        return sum(engine.n_waiting for engine in list(self._kept.values()))

    def notes(self) -> list[str]:
        """Return what the engines have to say of their devices, once."""
        # Without the lock, as above.
        return list(dict.fromkeys(n for engine in list(self._kept.values()) for n in engine.notes))
