"""What runs on a node of a cluster: an `Engine` of one device, in a process of its own.

A worker keeps the models it was given, and fetches each once. Two threads may call it, so that one
can stop what the other computes.
"""

import copy
import os
import socket
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import ray
import torch

from gadget.compute.engine import MAX_ENGINES
from gadget.compute.local import LocalEngine
from gadget.errors import describe
from jrsr_core.cancellation import Cancelled, watched
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.reconstruction.reconstructor import Reconstructor


@dataclass(frozen=True)
class ModelRef:
    """A model in the store of the cluster.

    `device` is that of the worker where empty; `batch_size` as in `Engine`.
    """

    key: int
    ref: ray.ObjectRef
    device: str
    batch_size: int


@dataclass(frozen=True)
class Answer:
    """An image or the reason why there is none, and why the device is lost if it is."""

    made: ReconImage | str
    lost: str = ""


class ClusterWorker:
    """Computes for the pool.

    Parameters
    ----------
    device
        "cpu" or "cuda".
    share
        Of the GPU and its memory.

    Raises
    ------
    RuntimeError
        The GPU does not answer.
    """

    def __init__(self, device: str, share: float = 1.0) -> None:
        self._device = device
        if device == "cuda":
            torch.cuda.set_per_process_memory_fraction(share)
            torch.ones(1, device=device).cpu()
        self._engines: OrderedDict[int, LocalEngine] = OrderedDict()
        self._now: int | None = None
        self._is_stopped = False

    def where(self) -> str:
        """Say that this worker is there, and where."""
        return f"process {os.getpid()} on {socket.gethostname()}"

    def slice(self, number: int, model: ModelRef, slice_: KSpaceSlice, seconds: float) -> Answer:
        """Compute one slice; `seconds` as in `Engine.run`."""
        with self._at_work(number):
            engine = self._engine(model)
            try:
                (made,) = engine.run([slice_], seconds)
            except Cancelled as error:
                made = error
            return _answer(made, engine)

    def volume(self, number: int, model: ModelRef, volume: KSpaceVolume, seconds: float) -> Answer:
        """Compute one volume; `seconds` as in `Engine.run_volume`."""
        with self._at_work(number):
            engine = self._engine(model)
            try:
                made = engine.run_volume(volume, lambda: None, seconds)
            except Exception as error:
                made = error
            return _answer(made, engine)

    def stop(self, number: int) -> None:
        """End the work of this number, if it is going on: nobody waits for it any more."""
        self._is_stopped = self._now == number

    @contextmanager
    def _at_work(self, number: int) -> Iterator[None]:
        self._now, self._is_stopped = number, False
        try:
            with watched(self._check):
                yield
        finally:
            self._now = None

    def _check(self) -> None:
        if self._is_stopped:
            raise Cancelled("nobody waits for it any more")

    def _engine(self, model: ModelRef) -> LocalEngine:
        if model.key not in self._engines:
            load = partial(on_device, ray.get(model.ref))
            device = model.device or self._device
            self._engines[model.key] = LocalEngine(load, [device], batch_size=model.batch_size)
            while len(self._engines) > MAX_ENGINES:
                self._engines.popitem(last=False)
        self._engines.move_to_end(model.key)
        return self._engines[model.key]


def _answer(made: ReconImage | Exception, engine: LocalEngine) -> Answer:
    outcome = made if isinstance(made, ReconImage) else describe(made)
    return Answer(outcome, ", ".join(engine.notes))


def on_device(recon: Reconstructor, device: str) -> Reconstructor:
    """Return a copy on another device; the model given stays on the CPU."""
    model = recon.model if device == "cpu" else copy.deepcopy(recon.model)
    return Reconstructor(
        model,
        name=recon.name,
        cards=recon.cards,
        settings=recon.settings,
        device=device,
        with_maps=recon.with_maps,
        precision=recon.precision,
    )
