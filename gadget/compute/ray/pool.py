"""The pool of workers of a cluster, which computes work for any number of scans.

One thread starts the workers and gives them work; other threads post events to it, so that only
the outcomes need a lock. Workers are started as the cluster has room for them, also on nodes that
join later. Work whose worker died goes to another one.
"""

import logging
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread

import ray

from gadget.errors import UsageError, describe
from jrsr_core.common.closing import Closing

from .connect import connect, share_of
from .work import ClusterModel, WorkItem, WorkQueue
from .workers import Workers, reason_of

log = logging.getLogger("jrsr")

CHECK_INTERVAL = 0.5
START_INTERVAL = 2.0
"""Seconds between two comparisons of the workers with what the cluster has room for."""

RECONNECT_INTERVAL = 5.0
"""Seconds between two attempts to reconnect."""


class Pool(Closing):
    """Connects to a cluster and computes with its workers; a context manager.

    Parameters
    ----------
    address
        "local" for this machine, else that of a cluster: ``ray://host:10001``, ``host:6379``.
    device
        auto, cpu or cuda.
    gpus_per_worker
        Share of a GPU, above 0 and at most 1; None for a whole one, or a core where there is none.

    Raises
    ------
    UsageError
        No cluster at this address, or none with the device.
    """

    def __init__(
        self, address: str, *, device: str = "auto", gpus_per_worker: float | None = None
    ) -> None:
        self.address = address
        self._is_ours = not ray.is_initialized()
        resources = connect(address)
        try:
            self.share = share_of(resources, address, device, gpus_per_worker)
        except UsageError:
            self._leave()
            raise
        self._queue = WorkQueue()
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.workers = Workers(self.share, self._queue, self._events.put)
        self.workers.n_wanted = self.share.n_workers(resources)
        self._is_connected = True
        self._is_closed = False
        self._thread = Thread(target=self._loop, name="cluster", daemon=True)
        self._thread.start()

    @property
    def n_wanted(self) -> int:
        """Workers that the cluster has room for."""
        return self.workers.n_wanted

    def __str__(self) -> str:
        workers = self.workers
        lost = f", {workers.n_lost} lost so far" if workers.n_lost else ""
        return f"{workers.n_ready} of {workers.n_wanted} workers at {self.address}{lost}"

    def n_waiting(self, model: ClusterModel) -> int:
        """Return the number of slices and volumes of a model that no worker has yet."""
        return self._queue.n_waiting(model)

    def run(self, items: list[WorkItem]) -> None:
        """Wait until every item has its outcome; raises what the caller's watch raises."""
        self._events.put(partial(self._queue.add, items))
        try:
            self._queue.wait(items)
        finally:
            self._events.put(partial(self._abandon, [i for i in items if i.outcome is None]))

    def _abandon(self, items: list[WorkItem]) -> None:
        self._queue.drop(items)
        self.workers.stop(items)

    def close(self) -> None:
        """End the workers and disconnect from the cluster."""
        self._is_closed = True
        self._events.put(lambda: None)
        self._thread.join()
        for handle in self.workers.handles:
            handle.kill()
        self._leave()

    def _leave(self) -> None:
        # Who connected before us needs the connection further.
        if self._is_ours:
            ray.shutdown()

    def _loop(self) -> None:
        while not self._is_closed:
            try:
                event = self._events.get(timeout=CHECK_INTERVAL)
            except queue.Empty:
                event = None
            try:
                if event is not None:
                    event()
                if time.monotonic() >= self.workers.next_start:
                    self._start_workers()
                self.workers.check()
                self.workers.send_work()
            except Exception:
                log.exception("cluster at %s", self.address)

    def _start_workers(self) -> None:
        self.workers.next_start = time.monotonic() + START_INTERVAL
        if not (self._is_connected or self._reconnect()):
            return
        try:
            self.workers.start_missing()
        except Exception as error:
            self._disconnect(error)

    def _disconnect(self, error: Exception) -> None:
        """Go on without the cluster, whose head node does not respond, until it can be reached."""
        self._is_connected = False
        reason = reason_of(error)
        log.error("no connection to the cluster at %s: %s", self.address, reason)
        self.workers.disconnected(reason)
        with suppress(Exception):
            ray.shutdown()

    def _reconnect(self) -> bool:
        try:
            connect(self.address)
        except Exception as error:
            self.workers.reason = describe(error)
            self.workers.next_start = time.monotonic() + RECONNECT_INTERVAL
            return False
        log.info("reconnected to the cluster at %s", self.address)
        self._is_connected = self._is_ours = True
        self.workers.connected()
        return True
