"""Batches on the device of a run: prepared scans or fresh ones, and no GPU that falls behind."""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from jrsr_core.common.cancellation import Cancelled, watched
from training.config import RunConfig
from training.data.loading.batches import train_batches
from training.data.loading.fresh import FreshBatches
from training.data.loading.packed import PackedBatch
from training.data.manifest import Manifest
from training.data.scans import TrainingScan

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STEPS_AHEAD = 2
"""Steps that are launched at most before the GPU has finished the first of them."""


class Feed:
    """The batches of one process from a step on; no more are made after its context.

    A wait for a batch ends once `goes_on` is false: a scan takes longer than a deadline allows.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        manifest: Manifest,
        step: int,
        fabric: "Fabric",
        goes_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self.device, self._goes_on = fabric.device, goes_on
        rank, world = fabric.global_rank, fabric.world_size
        make = FreshBatches if config.scans.vary else train_batches
        self._batches: FreshBatches | Generator[PackedBatch] = make(
            config, folder, manifest, step, rank, world
        )
        self._events: deque[torch.cuda.Event] = deque()

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *error: object) -> None:
        if isinstance(self._batches, FreshBatches):
            self._batches.stop()

    def close(self) -> None:
        """Wait until everything has ended that makes batches."""
        self._batches.close()

    def next(self) -> tuple[list[str], TrainingScan] | None:
        """Return names and scans of the next batch, on the device; None where there is none."""
        packed = None
        with suppress(Cancelled), watched(self._check):
            packed = next(self._batches, None)
        return None if packed is None else (packed.names, packed.to(self.device))

    def _check(self) -> None:
        if not self._goes_on():
            raise Cancelled

    def pace(self) -> None:
        """Let a GPU be two steps behind at most, so that steps are timed and the deadline is met.

        The step before the last one is waited for, not the work in flight.
        """
        if self.device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record()
        self._events.append(event)
        if len(self._events) > STEPS_AHEAD:
            self._events.popleft().synchronize()

    def facts(self) -> dict[str, Any]:
        """Return for the log how many fresh scans were made, and how often one was visited."""
        if not isinstance(self._batches, FreshBatches):
            return {}
        pool = self._batches.pool
        return {"fresh_scans": pool.made, "reuse": round(pool.reuse, 3)}
