"""The engine of this machine: one model for any number of scans, its devices shared between them.

Callers put their slices into one queue. Whoever finds a device free takes what is at the head of
the queue, slices of other callers among it, as many as go together into one batch; the others wait
for their results. The engine has no threads of its own.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition

import torch

from jrsr_core.cancellation import checkpoint, current_check
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.reconstruction.reconstructor import Reconstructor
from jrsr_core.reconstruction.volume import Tick

from .device import Job, Worker

Load = Callable[[str], Reconstructor]
"""Gives the `Reconstructor` of a device."""


@dataclass
class Statistics:
    """What an engine has done: images, seconds its devices were busy, batches by size."""

    n_images: int = 0
    busy_seconds: float = 0.0
    batches: dict[int, int] = field(default_factory=dict)


class LocalEngine:
    """Computes slices and volumes for any thread.

    Parameters
    ----------
    load
        Called once per device, and for "cpu" when a slice fits on no GPU or a GPU is lost.
    devices
        Their names; each computes one batch, or one volume, at a time.
    batch_size
        Slices of one batch on a GPU, and readout positions of a volume on any device. On a CPU
        slices are computed one by one: a batch would be no faster.
    """

    def __init__(self, load: Load, devices: list[str], *, batch_size: int = 4) -> None:
        self.batch_size = batch_size
        self.statistics = Statistics()
        self._workers = [Worker(name, load, batch_size) for name in devices]
        self._free = deque(self._workers)
        self._queue: deque[Job] = deque()
        self._changed = Condition()

    @property
    def model(self) -> Reconstructor:
        """The model, on the first device."""
        return self._workers[0].recon

    @property
    def place(self) -> str:
        """Where images are computed."""
        return ", ".join(str(worker.recon.device) for worker in self._workers)

    @property
    def notes(self) -> list[str]:
        """What whoever runs the server should know: devices that are lost."""
        return [worker.lost for worker in self._workers if worker.lost]

    @property
    def n_waiting(self) -> int:
        """Slices in the queue."""
        return len(self._queue)

    @property
    def slices_at_once(self) -> int:
        """How many slices a caller does well to bring together."""
        return self.batch_size if self.model.device.type == "cuda" else 1

    def run(
        self, slices: list[KSpaceSlice], time_limit: float = 0.0
    ) -> list[ReconImage | Exception]:
        """Return images in the order of the slices, or for each the error that prevented it.

        `time_limit` is in seconds per slice; 0 for no limit.

        Raises
        ------
        Exception
            What the watch of the caller raises (`jrsr_core.interrupt`), and nothing else.
        """
        jobs = [Job(slice_, current_check(), time_limit) for slice_ in slices]
        with self._changed:
            self._queue.extend(jobs)
        try:
            while any(job.outcome is None for job in jobs):
                self._take_turn(jobs)
        finally:
            with self._changed:
                self._queue = deque(job for job in self._queue if job not in jobs)
        return [job.outcome for job in jobs]

    def _take_turn(self, jobs: list[Job]) -> None:
        """Compute the next batch when a device is free, or wait until others have done it."""
        with self._changed:
            while not (self._free and self._queue):
                if all(job.outcome is not None for job in jobs):
                    return
                self._wait()
            worker = self._free.popleft()
            batch = self._next_batch(worker)
        with self._giving_back(worker, batch):
            worker.compute(batch)

    def _next_batch(self, worker: Worker) -> list[Job]:
        batch = [self._queue.popleft()]
        while (
            len(batch) < worker.slices_at_once
            and self._queue
            and _go_together(batch[0].slice_, self._queue[0].slice_)
        ):
            batch.append(self._queue.popleft())
        return batch

    def run_volume(self, volume: KSpaceVolume, tick: Tick, time_limit: float = 0.0) -> ReconImage:
        """Compute a volume; raises as `reconstruct_volume`, and what the caller's watch raises.

        `time_limit` is in seconds per readout position; 0 for no limit.
        """
        with self._a_device() as worker:
            return worker.compute_volume(volume, tick, time_limit)

    def fallback(self, made: KSpaceSlice | KSpaceVolume, reason: str, tick: Tick) -> ReconImage:
        """Return an image without the model; see `Reconstructor.fallback`."""
        with self._a_device() as worker:
            return worker.fallback(made, reason, tick)

    @contextmanager
    def _a_device(self) -> Iterator[Worker]:
        with self._changed:
            while not self._free:
                self._wait()
            worker = self._free.popleft()
        with self._giving_back(worker, []):
            yield worker

    def _wait(self) -> None:
        self._changed.wait(0.05)
        checkpoint()

    @contextmanager
    def _giving_back(self, worker: Worker, batch: list[Job]) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._changed:
                # After an interrupt the slices of others are still to be done.
                self._queue.extendleft(job for job in reversed(batch) if job.outcome is None)
                if self._is_needed(worker):
                    self._free.append(worker)
                self._count(max(len(batch), 1), time.perf_counter() - start)
                self._changed.notify_all()

    def _is_needed(self, worker: Worker) -> bool:
        """Whether a worker goes on: without its device only where no other device is left."""
        others = any(not w.lost for w in self._workers if w is not worker)
        return not worker.lost or not others

    def _count(self, n: int, seconds: float) -> None:
        done = self.statistics
        done.n_images += n
        done.busy_seconds += seconds
        done.batches[n] = done.batches.get(n, 0) + 1


def _go_together(a: KSpaceSlice, b: KSpaceSlice) -> bool:
    """Whether two slices can be one batch."""
    same_shape = a.kspace.shape == b.kspace.shape and a.lr_shape == b.lr_shape
    return same_shape and torch.equal(a.mask, b.mask)
