"""The engine on a Ray cluster (extra `cluster`): one worker per core, GPU, or part of a GPU.

Scans are read, assembled and written here, for files as for a server; workers compute. What goes
to them and comes back are arrays within our own types. Ray's own transport pickles, between
machines of one owner; nothing that came from outside is unpickled.
"""

from gadget.compute.local import LocalEngine
from gadget.compute.model import make_reconstructor
from gadget.errors import UsageError
from gadget.settings import Settings
from jrsr_core.cancellation import Cancelled
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.reconstruction.reconstructor import Reconstructor
from jrsr_core.reconstruction.volume import Tick

from .jobs import Job, Model, NoWorker
from .pool import Pool

QUEUED = 2
"""Slices per worker that a scan brings together: it waits for these before it brings more."""


class ClusterEngine:
    """Takes the place of `Engine`, for any number of threads; several may share a pool.

    Parameters
    ----------
    with_maps
        As in `make_reconstructor`, whose errors come as well.
    is_resident
        Where nobody is left to compute, a server answers with fallback images; files are not
        written at all.

    Raises
    ------
    UsageError
        A device that the workers do not have.
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
        self._model = Model(recon, settings.batch_size, device)
        self._pool = pool
        self._is_resident = is_resident
        self._local = LocalEngine(lambda _: recon, ["cpu"], batch_size=settings.batch_size)

    @property
    def model(self) -> Reconstructor:
        """The model, here on the CPU."""
        return self._model.recon

    @property
    def place(self) -> str:
        """Where images are computed."""
        return str(self._pool)

    @property
    def notes(self) -> list[str]:
        """What whoever runs the server should know: how many workers there are."""
        return [str(self._pool)]

    @property
    def n_waiting(self) -> int:
        """Slices in the queue."""
        return self._pool.n_waiting(self._model)

    @property
    def slices_at_once(self) -> int:
        """How many slices a caller does well to bring together."""
        return QUEUED * max(self._pool.n_wanted, 1)

    def run(
        self, slices: list[KSpaceSlice], time_limit: float = 0.0
    ) -> list[ReconImage | Exception]:
        """Return images in the order of the slices, or errors; as `Engine.run`."""
        jobs = [Job(self._model, slice_, time_limit) for slice_ in slices]
        self._run(jobs)
        return [job.outcome for job in jobs]

    def run_volume(self, volume: KSpaceVolume, tick: Tick, time_limit: float = 0.0) -> ReconImage:
        """Compute a volume; as `Engine.run_volume`, its ticks come at the end."""
        job = Job(self._model, volume, time_limit)
        self._run([job])
        if isinstance(job.outcome, Exception):
            raise job.outcome
        for _ in range(volume.n_positions):
            tick()
        return job.outcome

    def fallback(self, made: KSpaceSlice | KSpaceVolume, reason: str, tick: Tick) -> ReconImage:
        """Return an image without the model, computed here."""
        return self._local.fallback(made, reason, tick)

    def _run(self, jobs: list[Job]) -> None:
        self._pool.run(jobs)
        for job in jobs:
            if isinstance(job.outcome, NoWorker) and not self._is_resident:
                raise Cancelled(str(job.outcome))
