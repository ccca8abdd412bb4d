"""One device at work: a batch of slices, or a volume, whatever its memory has room for.

A batch that does not fit is halved; a single slice that does not fit goes to the CPU. A slice that
fails, or takes longer than the time limit, has its error as outcome, whatever it is: the thread
that computes may be that of another scan.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from jrsr_core.calibration.calibrate import CalibratedSlice
from jrsr_core.geometry import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.interrupt import Check, time_limit, watched
from jrsr_core.pipeline import Reconstructor
from jrsr_core.volume import Tick, reconstruct_volume

NO_ROOM = (torch.cuda.OutOfMemoryError, MemoryError)


@dataclass(eq=False)
class Job:
    """One slice on its way.

    `owner` raises when nobody waits for it any more, `seconds` is what it may take; 0 for no limit.
    """

    slice_: KSpaceSlice
    owner: Check
    seconds: float = 0.0
    outcome: ReconImage | Exception | None = None


class Worker:
    """A `Reconstructor` on its device, used by one thread at a time.

    Parameters
    ----------
    load
        Gives a `Reconstructor` on the CPU when it is needed.
    batch_size
        As in `Engine`.
    """

    def __init__(
        self,
        recon: Reconstructor,
        load: Callable[[str], Reconstructor],
        batch_size: int,
    ) -> None:
        self.recon = recon
        self.batch_size = batch_size
        self._load = load
        self._cpu: Reconstructor | None = None

    @property
    def is_gpu(self) -> bool:
        """Whether slices are computed in batches, and the CPU is there to fall back on."""
        return self.recon.device.type == "cuda"

    @property
    def slices_at_once(self) -> int:
        """Size of a batch."""
        return self.batch_size if self.is_gpu else 1

    def compute(self, jobs: list[Job]) -> None:
        """Give every job its outcome."""
        ready, calibrated = [], []
        for job in jobs:
            try:
                with self._limited(job):
                    calibrated.append(self.recon.calibrated(job.slice_))
                ready.append(job)
            except NO_ROOM:
                self._on_cpu(job)
            except Exception as error:
                job.outcome = error
        if ready:
            self._model(ready, calibrated)

    def _model(self, jobs: list[Job], calibrated: list[CalibratedSlice]) -> None:
        try:
            with self._limited(*jobs):
                images = self.recon.batch([job.slice_ for job in jobs], calibrated)
        except Exception as error:
            if len(jobs) > 1:
                # Too large, or one of them is to blame: the others shall have their images.
                self._in_halves(jobs, calibrated)
            elif isinstance(error, NO_ROOM):
                self._on_cpu(jobs[0])
            else:
                jobs[0].outcome = error
        else:
            for job, image in zip(jobs, images, strict=True):
                job.outcome = image

    def _in_halves(self, jobs: list[Job], calibrated: list[CalibratedSlice]) -> None:
        self._release()
        middle = len(jobs) // 2
        self._model(jobs[:middle], calibrated[:middle])
        self._model(jobs[middle:], calibrated[middle:])

    def _on_cpu(self, job: Job) -> None:
        try:
            with self._limited(job):
                job.outcome = self._on_the_cpu()(job.slice_)
        except Exception as error:
            job.outcome = error

    def _on_the_cpu(self) -> Reconstructor:
        self._release()
        if not self.is_gpu:
            raise MemoryError
        self._cpu = self._cpu or self._load("cpu")
        return self._cpu

    def compute_volume(self, volume: KSpaceVolume, tick: Tick, seconds: float) -> ReconImage:
        """Return the image of a volume; raises as `reconstruct_volume`.

        `seconds` is what a readout position may take, on average.
        """
        recon, size = self.recon, self.batch_size
        while True:
            try:
                with time_limit(seconds * volume.n_positions):
                    return reconstruct_volume(recon, volume, batch_size=size, tick=tick)
            except NO_ROOM:
                if size > 1:
                    self._release()
                    size //= 2
                elif recon is self.recon:
                    recon = self._on_the_cpu()
                else:
                    raise

    @contextmanager
    def _limited(self, *jobs: Job) -> Iterator[None]:
        """Stop after the time limit, or when nobody waits for any of the slices."""

        def owners() -> None:
            gone = [error for error in map(_raised, (job.owner for job in jobs)) if error]
            if len(gone) == len(jobs):
                raise gone[0]

        limits = [job.seconds for job in jobs]
        with watched(owners), time_limit(sum(limits) if all(limits) else 0.0):
            yield

    def _release(self) -> None:
        """Give memory back that a failed attempt holds."""
        if self.is_gpu:
            torch.cuda.empty_cache()


def _raised(check: Check) -> Exception | None:
    try:
        check()
    except Exception as error:
        return error
    return None
