"""Varied scans that are simulated while training, by workers that never stop.

Scan k is slice `k mod n` of the training images, with seeds of its own, so no two scans are alike.
Workers make them; a thread puts them into a `ScanPool`, takes batches of one shape from it and lays
each out in one buffer of pinned memory, so that the training process only waits where no batch is
ready. Without workers the training process makes a scan when it needs one, always in one order.
The pool is not saved: a run that continues goes on with fresh scans. A wait for a batch runs
`cancellation.checkpoint`, so that a deadline or a signal can end it.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from jrsr_core.common.cancellation import SECONDS_BETWEEN_CHECKS, Cancelled, checkpoint, watched
from training.config import RunConfig
from training.data.acquire import SEED_STRIDE, make_scan
from training.data.manifest import Entry, Manifest
from training.data.prepare import get_scan, scan_path
from training.data.scans import collate, half_precision
from training.data.workers import load

from .packed import PackedBatch, pack
from .pool import ScanPool

CAPACITY = 32
"""Size of the pool, in batches."""

MIXED = 4
"""Batches in the pool between which a step can choose where there are no workers."""

READY = 2
"""Batches that are ready at most."""

Named = tuple[str, dict[str, Tensor]]


@dataclass(frozen=True, eq=False)
class FreshScans(IterableDataset):
    """Endless scans number `first`, `first` + `step`, ...; workers share them.

    `validation` are scans that are made before all others, into the folder of the run.
    """

    folder: Path
    manifest: Manifest
    validation: tuple[Entry, ...]
    first: int
    step: int

    def __iter__(self) -> Iterator[Named]:
        info = get_worker_info()
        number, of = (info.id, info.num_workers) if info else (0, 1)
        for entry in self.validation[number::of]:
            get_scan(self.folder, self.manifest, entry)
        k = self.first + number * self.step
        while True:
            entry = fresh_entry(self.manifest, k)
            yield entry.name, half_precision(make_scan(self.manifest, entry))
            k += of * self.step


def fresh_entry(manifest: Manifest, k: int) -> Entry:
    """Return the entry of the fresh scan `k`."""
    entries = manifest.split("train")
    visit, index = divmod(k, len(entries))
    entry = entries[index]
    return replace(entry, name=f"{entry.name}-{visit}", seed=entry.seed + SEED_STRIDE * (visit + 1))


class FreshBatches:
    """Iterator over batches of fresh scans; `close` ends its thread and workers.

    Parameters
    ----------
    step
        Step at which the run continues: its scans are other ones than those of earlier steps.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        manifest: Manifest,
        step: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        batch = config.optimizer.batch // world
        capacity = CAPACITY * batch
        self.pool = ScanPool(batch, config.scans.max_visits, capacity, config.seed + rank)
        entries = manifest.first_of_parts("val", config.log.validation_slices)
        missing = tuple(e for e in entries if rank == 0 and not scan_path(folder, e).exists())
        first = step * config.optimizer.batch + rank
        scans = FreshScans(folder, manifest, missing, first, world)
        self._pin = torch.cuda.is_available()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []
        if not config.machine.workers:
            self._scans = iter(scans)
            return
        self._arrivals: queue.Queue[Named] = queue.Queue(batch)
        self._ready: queue.Queue[PackedBatch | None] = queue.Queue(READY)
        receive = partial(self._receive, scans, config.machine.workers)
        for work in (receive, self._make_batches):
            self._threads.append(threading.Thread(target=self._guarded, args=(work,), daemon=True))
            self._threads[-1].start()

    def __iter__(self) -> Iterator[PackedBatch]:
        return self

    def __next__(self) -> PackedBatch:
        if not self._threads:
            while (items := self._take_mixed()) is None:
                self.pool.add(*next(self._scans))
            return self._packed(items)
        batch = self._wait_for_batch()
        if batch is None:
            raise self._error or StopIteration
        return batch

    def _wait_for_batch(self) -> PackedBatch | None:
        while True:
            checkpoint()
            try:
                return self._ready.get(timeout=SECONDS_BETWEEN_CHECKS)
            except queue.Empty:
                continue

    def _take_mixed(self) -> list[Named] | None:
        """Return a batch of a pool that has several; None while fresh scans are to be made.

        A pool of one batch would be trained on alone until its last visit.
        """
        if self.pool.has_room() and self.pool.n_ready < MIXED * self.pool.batch:
            return None
        return self.pool.take()

    def stop(self) -> None:
        """Let the threads and the workers end; scans in hand are given up."""
        self._stop.set()

    def close(self) -> None:
        """Stop, and wait for the threads and the workers."""
        self.stop()
        for thread in self._threads:
            thread.join()

    def _packed(self, items: list[Named]) -> PackedBatch:
        scans = collate([scan for _, scan in items])
        return pack([name for name, _ in items], scans, pin=self._pin)

    # The two threads.

    def _check(self) -> None:
        if self._stop.is_set():
            raise Cancelled

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = self._error or error
            self._stop.set()

    def _put(self, target: queue.Queue, item: object) -> None:
        while not self._stop.is_set():
            try:
                target.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def _receive(self, scans: FreshScans, workers: int) -> None:
        with (
            suppress(Cancelled),
            watched(self._check),
            closing(load(scans, workers, batch_size=None)) as items,
        ):
            for item in items:
                self._put(self._arrivals, item)

    def _make_batches(self) -> None:
        try:
            while not self._stop.is_set():
                self._drain()
                items = self.pool.take()
                if items is None:
                    self._wait_for_one()
                else:
                    self._put(self._ready, self._packed(items))
        finally:
            self._put_last()

    def _drain(self) -> None:
        while self.pool.has_room():
            try:
                self.pool.add(*self._arrivals.get_nowait())
            except queue.Empty:
                return

    def _wait_for_one(self) -> None:
        try:
            self.pool.add(*self._arrivals.get(timeout=0.1))
        except queue.Empty:
            return

    def _put_last(self) -> None:
        """Wake up a training process that waits: there will be no other batch."""
        while True:
            try:
                self._ready.put_nowait(None)
                return
            except queue.Full:
                self._ready.get_nowait()
