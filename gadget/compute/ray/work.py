"""Work for the workers of a cluster, the queue in front of them, and the outcomes."""

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Condition

from jrsr_core.common.cancellation import wait_until
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.reconstruction.reconstructor import Reconstructor

MAX_ATTEMPTS = 3
"""How often work is sent whose worker died."""

_numbers = itertools.count()


class RemoteFailure(ValueError):
    """What went wrong on a worker, as one line."""


class NoWorkers(RemoteFailure):
    """No worker is left to compute."""


@dataclass(eq=False)
class ClusterModel:
    """A model for the workers; an empty `device` stands for the device of the worker."""

    recon: Reconstructor
    batch_size: int
    device: str = ""
    key: int = field(default_factory=lambda: next(_numbers))


@dataclass(eq=False)
class WorkItem:
    """One slice or volume, with its image or error once a worker has answered.

    Attributes
    ----------
    seconds
        Time limit of a slice, or of a readout position; 0 for no limit.
    number
        Identifies the item on the worker.
    n_attempts
        How often it was sent.
    is_wanted
        Whether somebody waits for its outcome.
    """

    model: ClusterModel
    data: KSpaceSlice | KSpaceVolume
    seconds: float = 0.0
    number: int = field(default_factory=lambda: next(_numbers))
    n_attempts: int = 0
    is_wanted: bool = True
    outcome: ReconImage | Exception | None = None

    @property
    def limit(self) -> float:
        """Time limit of the whole item in seconds; 0 for no limit."""
        return self.seconds * getattr(self.data, "n_positions", 1)


class WorkQueue:
    """Work that no worker has yet, and the wait for outcomes.

    The thread of the pool alone changes the queue; any thread may count it or wait for outcomes.
    """

    def __init__(self) -> None:
        self._items: deque[WorkItem] = deque()
        self._settled = Condition()

    def __len__(self) -> int:
        return len(self._items)

    def n_waiting(self, model: ClusterModel) -> int:
        """Return the number of items of a model."""
        return sum(item.model is model for item in list(self._items))

    def add(self, items: Iterable[WorkItem]) -> None:
        """Put work at the end of the queue."""
        self._items.extend(items)

    def pop(self) -> WorkItem:
        """Take the first item out of the queue."""
        return self._items.popleft()

    def settle(self, item: WorkItem, outcome: ReconImage | Exception) -> None:
        """Set the outcome of an item and wake up who waits for it."""
        with self._settled:
            item.outcome = outcome
            self._settled.notify_all()

    def retry(self, item: WorkItem) -> None:
        """Queue work whose worker died once more, or settle it after `MAX_ATTEMPTS`."""
        if not item.is_wanted:
            return
        if item.n_attempts < MAX_ATTEMPTS:
            self._items.appendleft(item)
        else:
            self.settle(item, RemoteFailure(f"{MAX_ATTEMPTS} workers died on it"))

    def fail(self, reason: str) -> None:
        """Settle the whole queue: no worker will compute it."""
        while self._items:
            self.settle(self._items.popleft(), NoWorkers(reason))

    def drop(self, items: Iterable[WorkItem]) -> None:
        """Remove work that nobody waits for any more."""
        for item in items:
            item.is_wanted = False
            if item in self._items:
                self._items.remove(item)

    def wait(self, items: list[WorkItem]) -> None:
        """Wait until every item has its outcome; raises what the watch of this thread raises."""
        with self._settled:
            wait_until(self._settled, lambda: all(item.outcome is not None for item in items))
