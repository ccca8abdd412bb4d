"""The actor on a node of a cluster: it computes on one device, in a process of its own.

Importing this module loads no torch: the worker makes the settings of its process before it does.
"""

import os
import socket
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray

from gadget.compute.process import prepare_process
from gadget.errors import describe
from jrsr_core.common.cancellation import Cancelled, watched

if TYPE_CHECKING:
    from gadget.compute.local import LocalEngine
    from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage

MAX_MODELS = 4
"""Models that a worker keeps in memory."""


@dataclass(frozen=True)
class ModelRef:
    """A model in the object store of the cluster, as it is sent to workers.

    Attributes
    ----------
    device
        Name of a device; empty for the device of the worker.
    batch_size
        As in `LocalEngine`.
    """

    key: int
    ref: ray.ObjectRef
    device: str
    batch_size: int


@dataclass(frozen=True)
class Answer:
    """An image, or the reason why there is none; `lost` is the reason if the GPU is lost."""

    outcome: "ReconImage | str"
    lost: str = ""


class ClusterWorker:
    """Computes for the pool, which may stop a computation by a second thread.

    Each model is fetched from the object store once.

    Parameters
    ----------
    device
        "cpu" or "cuda".
    share
        Fraction of the GPU and its memory.

    Raises
    ------
    RuntimeError
        The GPU does not respond.
    """

    def __init__(self, device: str, share: float = 1.0) -> None:
        prepare_process()
        # Deferred: torch reads the settings of the process when it is loaded.
        import torch

        self._device = device
        if device == "cuda":
            torch.cuda.set_per_process_memory_fraction(share)
            torch.ones(1, device=device).cpu()
        self._engines: OrderedDict[int, LocalEngine] = OrderedDict()
        self._number: int | None = None
        self._is_stopped = False

    def where(self) -> str:
        """Return the process and the host of the worker."""
        return f"process {os.getpid()} on {socket.gethostname()}"

    def slice(self, number: int, model: ModelRef, slice_: "KSpaceSlice", seconds: float) -> Answer:
        """Compute one slice; `seconds` is its time limit, 0 for none."""
        with self._stoppable(number):
            engine = self._engine(model)
            try:
                (outcome,) = engine.run([slice_], seconds)
            except Cancelled as error:
                outcome = error
            return _answer(outcome, engine)

    def volume(
        self, number: int, model: ModelRef, volume: "KSpaceVolume", seconds: float
    ) -> Answer:
        """Compute one volume; `seconds` is the time limit of a readout position, 0 for none."""
        with self._stoppable(number):
            engine = self._engine(model)
            outcome: ReconImage | Exception
            try:
                outcome = engine.run_volume(volume, lambda: None, seconds)
            except Exception as error:
                outcome = error
            return _answer(outcome, engine)

    def stop(self, number: int) -> None:
        """Stop the computation of this number, if it is running."""
        self._is_stopped = self._number == number

    @contextmanager
    def _stoppable(self, number: int) -> Iterator[None]:
        self._number, self._is_stopped = number, False
        try:
            with watched(self._check):
                yield
        finally:
            self._number = None

    def _check(self) -> None:
        if self._is_stopped:
            raise Cancelled("nobody waits for it any more")

    def _engine(self, model: ModelRef) -> "LocalEngine":
        # Deferred: as above.
        from gadget.compute.local import LocalEngine

        if model.key not in self._engines:
            load = ray.get(model.ref).copied_to
            device = model.device or self._device
            self._engines[model.key] = LocalEngine(load, [device], batch_size=model.batch_size)
            while len(self._engines) > MAX_MODELS:
                self._engines.popitem(last=False)
        self._engines.move_to_end(model.key)
        return self._engines[model.key]


def _answer(outcome: "ReconImage | Exception", engine: "LocalEngine") -> Answer:
    text_or_image = describe(outcome) if isinstance(outcome, Exception) else outcome
    return Answer(text_or_image, ", ".join(engine.notes))
