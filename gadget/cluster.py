"""The engine on a Ray cluster (extra `cluster`): one worker per GPU, or per core, of every node.

The driver reads scans, assembles, and writes; workers compute. The model is put once and fetched by
each node once. A worker that dies with its node has its slices computed by another one; a slice
that takes `ATTEMPTS` workers with it is a failure like any other.

Ray's own transport pickles, between machines of one owner; nothing that came from outside is
unpickled: it travels as arrays within our own types.
"""

import logging
import os
from collections import deque
from functools import partial
from threading import Condition

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError, RaySystemError

from jrsr_core.geometry import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.interrupt import Cancelled, checkpoint
from jrsr_core.pipeline import Reconstructor
from jrsr_core.volume import Tick

from .engine import Engine
from .errors import UsageError, describe
from .settings import Settings
from .stages import make_reconstructor

log = logging.getLogger("jrsr")

ATTEMPTS = 3
QUEUED = 2
"""Slices per worker that a scan brings together."""

Made = ReconImage | str
"""An image, or the reason why there is none."""


class RemoteFailure(ValueError):
    """What went wrong on a worker, as one line."""


class ClusterWorker:
    """An `Engine` of one device, in a process of its own."""

    def __init__(self, recon: Reconstructor, device: str, batch_size: int) -> None:
        self._engine = Engine(partial(_on_device, recon), [device], batch_size=batch_size)

    def slice(self, slice_: KSpaceSlice, seconds: float) -> Made:
        """Compute one slice."""
        (made,) = self._engine.run([slice_], seconds)
        return made if isinstance(made, ReconImage) else describe(made)

    def volume(self, volume: KSpaceVolume, seconds: float) -> Made:
        """Compute one volume."""
        try:
            return self._engine.run_volume(volume, lambda: None, seconds)
        except Exception as error:
            return describe(error)


def _on_device(recon: Reconstructor, device: str) -> Reconstructor:
    return Reconstructor(
        recon.model.to(device),
        name=recon.name,
        cards=recon.cards,
        settings=recon.settings,
        device=device,
        with_maps=recon.with_maps,
    )


class ClusterEngine:
    """Takes the place of `Engine`, for any number of threads.

    Parameters
    ----------
    address
        "local" for this machine, else that of a cluster: ``ray://host:10001``, ``host:6379``.

    Raises
    ------
    UsageError
        No cluster there.
    """

    def __init__(self, settings: Settings, address: str, *, with_maps: bool = False) -> None:
        recon = make_reconstructor(settings, "cpu", with_maps=with_maps)
        self.model = recon
        self._local = Engine(lambda _: recon, ["cpu"], batch_size=settings.batch_size)
        _connect(address)
        resources = ray.cluster_resources()
        on_gpu = settings.device != "cpu" and resources.get("GPU", 0) >= 1
        self.n_workers = int(resources["GPU" if on_gpu else "CPU"])
        device = "cuda" if on_gpu else "cpu"
        share = {"num_gpus": 1, "num_cpus": 0} if on_gpu else {"num_cpus": 1}
        kind = ray.remote(ClusterWorker).options(scheduling_strategy="SPREAD", **share)
        model = ray.put(recon)
        made = [kind.remote(model, device, settings.batch_size) for _ in range(self.n_workers)]
        self._idle: deque[ActorHandle] = deque(made)
        self._n_alive = len(made)
        self._changed = Condition()

    @property
    def slices_at_once(self) -> int:
        """How many slices a caller does well to bring together."""
        return QUEUED * self.n_workers

    def run(
        self, slices: list[KSpaceSlice], time_limit: float = 0.0
    ) -> list[ReconImage | Exception]:
        """Return images in the order of the slices, or errors; as `Engine.run`."""
        return self._all("slice", slices, time_limit)

    def run_volume(self, volume: KSpaceVolume, tick: Tick, time_limit: float = 0.0) -> ReconImage:
        """Compute a volume; as `Engine.run_volume`, its ticks come at the end."""
        (made,) = self._all("volume", [volume], time_limit)
        if isinstance(made, Exception):
            raise made
        for _ in range(volume.n_positions):
            tick()
        return made

    def fallback(self, made: KSpaceSlice | KSpaceVolume, reason: str, tick: Tick) -> ReconImage:
        """Return an image without the model, computed here."""
        return self._local.fallback(made, reason, tick)

    def close(self) -> None:
        """Leave the cluster; its workers end."""
        ray.shutdown()

    def _all(self, method: str, works: list, seconds: float) -> list[ReconImage | Exception]:
        """Hand out work to whoever is idle, and again what was lost."""
        outcomes: dict[int, ReconImage | Exception] = {}
        left = deque((i, 1) for i in range(len(works)))
        going: dict[ray.ObjectRef, tuple[int, int, ActorHandle]] = {}
        try:
            while len(outcomes) < len(works):
                checkpoint()
                while left and (worker := self._take(wait=not going)) is not None:
                    i, attempt = left.popleft()
                    going[getattr(worker, method).remote(works[i], seconds)] = (i, attempt, worker)
                for ref in ray.wait(list(going), timeout=0.2)[0]:
                    i, attempt, worker = going.pop(ref)
                    try:
                        made = ray.get(ref)
                    except (RayActorError, RaySystemError) as error:
                        self._lost(error)
                        if attempt < ATTEMPTS:
                            left.appendleft((i, attempt + 1))
                        else:
                            outcomes[i] = RemoteFailure(f"{ATTEMPTS} workers died on it")
                        continue
                    except RayError as error:
                        made = describe(error)
                    self._give(worker)
                    outcomes[i] = RemoteFailure(made) if isinstance(made, str) else made
        finally:
            # After an interrupt: what is going on comes to its end, and its worker is idle then.
            for _, _, worker in going.values():
                self._give(worker)
        return [outcomes[i] for i in range(len(works))]

    def _take(self, *, wait: bool) -> ActorHandle | None:
        with self._changed:
            while not self._idle:
                if not self._n_alive:
                    raise Cancelled("no worker of the cluster is left")
                if not wait:
                    return None
                self._changed.wait(0.05)
                checkpoint()
            return self._idle.popleft()

    def _give(self, worker: ActorHandle) -> None:
        with self._changed:
            self._idle.append(worker)
            self._changed.notify_all()

    def _lost(self, error: Exception) -> None:
        with self._changed:
            self._n_alive -= 1
            self._changed.notify_all()
        log.warning("a worker is lost (%s), %d are left", type(error).__name__, self._n_alive)


def _connect(address: str) -> None:
    # Nothing is reported to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if ray.is_initialized():
        return
    options = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        raise UsageError(f"no cluster at {address}: {describe(error)}") from None
