"""The interface of an engine, which computes images for any number of scans."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from gadget.settings import Settings
from jrsr_core.common.cancellation import wait_until
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.reconstruction.reconstructor import Reconstructor
from jrsr_core.reconstruction.volume import Tick

MAX_ENGINES = 4
"""Engines that a server keeps in memory."""

MAX_LOADING = 2
"""Engines that are made at the same time."""

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
"""Settings on which an engine does not depend."""


class Engine(Protocol):
    """Computes slices and volumes for any thread, on this machine or on a cluster."""

    @property
    def model(self) -> Reconstructor:
        """The model, with its name, cards and settings."""
        ...

    @property
    def place(self) -> str:
        """Where images are computed, for a log line."""
        ...

    @property
    def notes(self) -> list[str]:
        """What an operator should know: devices that failed, workers that are missing."""
        ...

    @property
    def n_waiting(self) -> int:
        """Slices in the queue."""
        ...

    @property
    def slices_at_once(self) -> int:
        """How many slices a caller should pass to one call of `run`."""
        ...

    def run(
        self, slices: list[KSpaceSlice], time_limit: float = 0.0
    ) -> list[ReconImage | Exception]:
        """Return an image per slice, in their order, or the error that prevented it.

        Parameters
        ----------
        time_limit
            Seconds per slice; 0 for no limit.

        Raises
        ------
        Exception
            What the caller's watch raises (`common.cancellation.watched`), and nothing else.
        """
        ...

    def run_volume(self, volume: KSpaceVolume, tick: Tick, time_limit: float = 0.0) -> ReconImage:
        """Return the image of a volume.

        Parameters
        ----------
        tick
            Called once per readout position.
        time_limit
            Seconds per readout position, on average; 0 for no limit.

        Raises
        ------
        Exception
            As `reconstruct_volume`, and what the caller's watch raises.
        """
        ...

    def fallback(self, data: KSpaceSlice | KSpaceVolume, reason: str, tick: Tick) -> ReconImage:
        """Return a conventional reconstruction that is marked with the reason for it."""
        ...


class EngineCache:
    """Keeps the engines of a server by the settings that they were made with.

    Scans with the same settings share an engine; the engine that was unused for longest is
    dropped when there are more than `MAX_ENGINES`. While one is made, scans with other settings go
    on.

    Parameters
    ----------
    make
        Makes the engine of some settings.
    """

    def __init__(self, make: Callable[[Settings], Engine]) -> None:
        self._make = make
        self._kept: OrderedDict[tuple, Engine] = OrderedDict()
        self._loading: set[tuple] = set()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, settings: Settings) -> Engine:
        """Return the engine of these settings, which may have to be made.

        Raises
        ------
        Exception
            What making the engine raises, and what the watch of this thread raises.
        """
        names = (name for name in Settings.model_fields if name not in SCAN_ONLY)
        # "none" and "" are the same maps.
        key = (*(getattr(settings, name) for name in names), tuple(settings.map_names))
        engine = self._kept_or_begin(key)
        return engine if engine is not None else self._load(key, settings)

    def _kept_or_begin(self, key: tuple) -> Engine | None:
        """Return an engine that is kept; None if this thread has to make it, once it may."""
        with self._changed:
            wait_until(self._changed, lambda: key in self._kept or self._may_load(key))
            if key not in self._kept:
                self._loading.add(key)
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def _may_load(self, key: tuple) -> bool:
        return key not in self._loading and len(self._loading) < MAX_LOADING

    def _load(self, key: tuple, settings: Settings) -> Engine:
        try:
            engine = self._make(settings)
            with self._changed:
                self._kept[key] = engine
                while len(self._kept) > MAX_ENGINES:
                    self._kept.popitem(last=False)
            return engine
        finally:
            with self._changed:
                self._loading.discard(key)
                self._changed.notify_all()

    def _engines(self) -> list[Engine]:
        with self._changed:
            return list(self._kept.values())

    def n_waiting(self) -> int:
        """Return the number of slices that wait in all queues."""
        return sum(engine.n_waiting for engine in self._engines())

    def notes(self) -> list[str]:
        """Return the notes of all engines, each once."""
        return list(dict.fromkeys(n for engine in self._engines() for n in engine.notes))
