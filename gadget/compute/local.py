"""The engine of this machine: one model for any number of scans, which share its devices.

Callers put their slices into one queue and wait. A waiting thread computes the next batch as soon
as a device is free: the slices at the head of the queue, also those of other callers. The engine
has no threads of its own.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

import torch

from jrsr_core.common.cancellation import checkpoint, current_check, wait_until
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.reconstruction.reconstructor import Reconstructor
from jrsr_core.reconstruction.volume import Tick

from .device import DeviceWorker, Load, SliceTask


class LocalEngine:
    """Computes on the devices of this machine; an `Engine`.

    Parameters
    ----------
    load
        Loads the model on a device: once for each, and on "cpu" when the CPU has to replace a GPU.
    devices
        Names of the devices; each computes one batch, or one volume, at a time.
    batch_size
        Slices of one batch on a GPU, and readout positions of a volume on any device. A CPU
        computes slices one by one: a batch would be no faster.
    """

    def __init__(self, load: Load, devices: list[str], *, batch_size: int = 4) -> None:
        self._workers: list[DeviceWorker] = []
        for name in devices:
            checkpoint()
            self._workers.append(DeviceWorker(name, load, batch_size))
        self._free = deque(self._workers)
        self._queue: deque[SliceTask] = deque()
        self._changed = Condition()

    @property
    def model(self) -> Reconstructor:
        """The model, on the first device."""
        return self._workers[0].recon

    @property
    def place(self) -> str:
        """Names of the devices."""
        return ", ".join(str(worker.recon.device) for worker in self._workers)

    @property
    def notes(self) -> list[str]:
        """Why devices are lost, one line each."""
        return [worker.lost for worker in self._workers if worker.lost]

    @property
    def n_waiting(self) -> int:
        """Slices in the queue."""
        return len(self._queue)

    @property
    def slices_at_once(self) -> int:
        """How many slices a caller should pass to one call of `run`."""
        return self._workers[0].slices_at_once

    def run(
        self, slices: list[KSpaceSlice], time_limit: float = 0.0
    ) -> list[ReconImage | Exception]:
        """Return an image per slice or the error that prevented it; see `Engine.run`."""
        tasks = [SliceTask(slice_, current_check(), time_limit) for slice_ in slices]
        with self._changed:
            self._queue.extend(tasks)
        try:
            while not _are_done(tasks):
                self._take_turn(tasks)
        finally:
            with self._changed:
                self._queue = deque(task for task in self._queue if task not in tasks)
        return [task.outcome for task in tasks if task.outcome is not None]

    def _take_turn(self, tasks: list[SliceTask]) -> None:
        """Compute a batch once a device is free, or wait until others have computed these tasks."""
        with self._changed:
            wait_until(self._changed, lambda: self._can_compute() or _are_done(tasks))
            if not self._can_compute():
                return
            worker = self._free.popleft()
            batch = self._next_batch(worker.slices_at_once)
        with self._returning(worker, batch):
            worker.compute(batch)

    def _can_compute(self) -> bool:
        return bool(self._free and self._queue)

    def _next_batch(self, size: int) -> list[SliceTask]:
        batch = [self._queue.popleft()]
        while (
            len(batch) < size
            and self._queue
            and _fit_together(batch[0].slice_, self._queue[0].slice_)
        ):
            batch.append(self._queue.popleft())
        return batch

    def run_volume(self, volume: KSpaceVolume, tick: Tick, time_limit: float = 0.0) -> ReconImage:
        """Return the image of a volume; see `Engine.run_volume`."""
        with self._device() as worker:
            return worker.compute_volume(volume, tick, time_limit)

    def fallback(self, data: KSpaceSlice | KSpaceVolume, reason: str, tick: Tick) -> ReconImage:
        """Return a conventional reconstruction that is marked with the reason for it."""
        with self._device() as worker:
            return worker.fallback(data, reason, tick)

    @contextmanager
    def _device(self) -> Iterator[DeviceWorker]:
        with self._changed:
            wait_until(self._changed, lambda: bool(self._free))
            worker = self._free.popleft()
        with self._returning(worker, []):
            yield worker

    @contextmanager
    def _returning(self, worker: DeviceWorker, batch: list[SliceTask]) -> Iterator[None]:
        """Free the device at the end; slices of an interrupted batch return to the queue."""
        try:
            yield
        finally:
            with self._changed:
                self._queue.extendleft(task for task in reversed(batch) if task.outcome is None)
                if self._is_needed(worker):
                    self._free.append(worker)
                self._changed.notify_all()

    def _is_needed(self, worker: DeviceWorker) -> bool:
        """Whether a worker goes on: one whose GPU is lost does only if no other device is left."""
        return not worker.lost or all(w.lost for w in self._workers if w is not worker)


def _are_done(tasks: list[SliceTask]) -> bool:
    return all(task.outcome is not None for task in tasks)


def _fit_together(a: KSpaceSlice, b: KSpaceSlice) -> bool:
    """Whether two slices can be in one batch."""
    same_shape = a.kspace.shape == b.kspace.shape and a.lr_shape == b.lr_shape
    return same_shape and torch.equal(a.mask, b.mask)
