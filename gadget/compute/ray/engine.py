"""The engine on a Ray cluster: one worker per core, per GPU, or per part of a GPU.

Scans are read, assembled and written by this process, for files as for a server; the workers
compute. Ray pickles what is sent between the machines, which are arrays within our own types;
nothing that came from a peer or a file is unpickled.
"""

from gadget.compute.local import LocalEngine
from gadget.compute.model import make_reconstructor
from gadget.errors import UsageError
from gadget.settings import Settings
from jrsr_core.common.cancellation import Cancelled
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.reconstruction.reconstructor import Reconstructor
from jrsr_core.reconstruction.volume import Tick

from .pool import Pool
from .work import ClusterModel, NoWorkers, WorkItem

SLICES_PER_WORKER = 2
"""Slices per worker that a scan brings together: one is computed while the other waits."""


class ClusterEngine:
    """Computes on the workers of a pool, which several engines may share; an `Engine`.

    Parameters
    ----------
    with_maps
        As in `make_reconstructor`, whose errors are raised as well.
    is_resident
        Whether a scan gets fallback images when no worker is left, as in a server; without it the
        scan is given up and its file is not written.

    Raises
    ------
    UsageError
        The workers do not have the device.
    """

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        *,
        with_maps: bool = False,
        is_resident: bool = False,
    ) -> None:
        if settings.device not in ("auto", "cpu", pool.share.device):
            raise UsageError(f"device is {settings.device!r}, the workers have {pool.share.device}")
        recon = make_reconstructor(settings, "cpu", with_maps=with_maps)
        device = "cpu" if settings.device == "cpu" else ""
        self._model = ClusterModel(recon, settings.batch_size, device)
        self._pool = pool
        self._is_resident = is_resident
        self._local = LocalEngine(lambda _: recon, ["cpu"], batch_size=settings.batch_size)

    @property
    def model(self) -> Reconstructor:
        """The model, here on the CPU."""
        return self._model.recon

    @property
    def place(self) -> str:
        """How many workers there are, and where."""
        return str(self._pool)

    @property
    def notes(self) -> list[str]:
        """How many workers there are, are wanted and were lost, as one line."""
        return [str(self._pool)]

    @property
    def n_waiting(self) -> int:
        """Slices and volumes in the queue."""
        return self._pool.n_waiting(self._model)

    @property
    def slices_at_once(self) -> int:
        """How many slices a caller should pass to one call of `run`."""
        return SLICES_PER_WORKER * max(self._pool.n_wanted, 1)

    def run(
        self, slices: list[KSpaceSlice], time_limit: float = 0.0
    ) -> list[ReconImage | Exception]:
        """Return an image per slice or the error that prevented it; see `Engine.run`."""
        return self._run([WorkItem(self._model, slice_, time_limit) for slice_ in slices])

    def run_volume(self, volume: KSpaceVolume, tick: Tick, time_limit: float = 0.0) -> ReconImage:
        """Return the image of a volume; see `Engine.run_volume`. All ticks come at the end."""
        (outcome,) = self._run([WorkItem(self._model, volume, time_limit)])
        if isinstance(outcome, Exception):
            raise outcome
        for _ in range(volume.n_positions):
            tick()
        return outcome

    def fallback(self, data: KSpaceSlice | KSpaceVolume, reason: str, tick: Tick) -> ReconImage:
        """Return a conventional reconstruction that is marked with its reason, computed here."""
        return self._local.fallback(data, reason, tick)

    def _run(self, items: list[WorkItem]) -> list[ReconImage | Exception]:
        self._pool.run(items)
        outcomes = [item.outcome for item in items if item.outcome is not None]
        for outcome in outcomes:
            if isinstance(outcome, NoWorkers) and not self._is_resident:
                raise Cancelled(str(outcome))
        return outcomes
