"""One device at work: a batch of slices, or a volume, whatever its memory has room for.

A batch that does not fit is halved; a single slice that does not fit goes to the CPU, and so does
one that met an error of the device. A device that does not answer afterwards is lost: from then on
its worker computes on the CPU, and its images say so. A slice that fails, or takes longer than the
time limit, has its error as outcome, whatever it is: the thread that computes may be that of
another scan.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from jrsr_core.calibration.calibrate import CalibratedSlice
from jrsr_core.cancellation import Check, time_limit, watched
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.reconstruction.reconstructor import Reconstructor
from jrsr_core.reconstruction.volume import Tick, fallback_volume, reconstruct_volume

log = logging.getLogger("jrsr")

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
    name
        Of the device.
    load
        Gives a `Reconstructor` of a device; called for "cpu" when one is needed there.
    batch_size
        As in `Engine`.

    Attributes
    ----------
    lost
        Why the device is not used any more, as one line; empty while it is.
    """

    def __init__(self, name: str, load: Callable[[str], Reconstructor], batch_size: int) -> None:
        self.batch_size = batch_size
        self.lost = ""
        self._name = name
        self._load = load
        self._cpu: Reconstructor | None = None
        try:
            self._own = load(name)
        except RuntimeError as error:
            if not is_device_error(error):
                raise
            self._give_up(error)
            self._own = self._cpu = load("cpu")

    @property
    def recon(self) -> Reconstructor:
        """What computes: that of the device, or of the CPU once the device is lost."""
        return self._on_the_cpu() if self.lost else self._own

    @property
    def is_gpu(self) -> bool:
        """Whether slices are computed in batches, and the CPU is there to fall back on."""
        return self._own.device.type == "cuda" and not self.lost

    @property
    def slices_at_once(self) -> int:
        """Size of a batch."""
        return self.batch_size if self.is_gpu else 1

    def compute(self, jobs: list[Job]) -> None:
        """Give every job its outcome."""
        recon = self.recon
        ready, calibrated = [], []
        for job in jobs:
            try:
                with self._limited(job):
                    calibrated.append(recon.calibrated(job.slice_))
                ready.append(job)
            except Exception as error:
                self._failed(job, error)
        if ready:
            self._model(recon, ready, calibrated)

    def _model(
        self, recon: Reconstructor, jobs: list[Job], calibrated: list[CalibratedSlice]
    ) -> None:
        if recon is not self.recon:
            # The device was lost with what is calibrated on it.
            return self._all_on_cpu(jobs)
        try:
            with self._limited(*jobs):
                images = recon.batch([job.slice_ for job in jobs], calibrated)
        except Exception as error:
            if len(jobs) == 1:
                self._failed(jobs[0], error)
            elif self._is_device_to_blame(error):
                self._all_on_cpu(jobs)
            else:
                # Too large, or one of them is to blame: the others shall have their images.
                self._in_halves(recon, jobs, calibrated)
        else:
            for job, image in zip(jobs, images, strict=True):
                job.outcome = self._told(image)

    def _in_halves(
        self, recon: Reconstructor, jobs: list[Job], calibrated: list[CalibratedSlice]
    ) -> None:
        self._release()
        middle = len(jobs) // 2
        self._model(recon, jobs[:middle], calibrated[:middle])
        self._model(recon, jobs[middle:], calibrated[middle:])

    def _failed(self, job: Job, error: Exception) -> None:
        """Compute one slice on the CPU where its device is to blame."""
        if isinstance(error, NO_ROOM) or self._is_device_to_blame(error):
            self._on_cpu(job)
        else:
            job.outcome = error

    def _all_on_cpu(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._on_cpu(job)

    def _on_cpu(self, job: Job) -> None:
        try:
            with self._limited(job):
                job.outcome = self._told(self._on_the_cpu()(job.slice_))
        except Exception as error:
            job.outcome = error

    def _on_the_cpu(self) -> Reconstructor:
        self._release()
        if self._cpu is None:
            if not self.is_gpu and not self.lost:
                raise MemoryError
            self._cpu = self._load("cpu")
        return self._cpu

    def compute_volume(self, volume: KSpaceVolume, tick: Tick, seconds: float) -> ReconImage:
        """Return the image of a volume; raises as `reconstruct_volume`.

        `seconds` is what a readout position may take, on average.
        """
        recon, size = self.recon, self.batch_size
        while True:
            try:
                with time_limit(seconds * volume.n_positions):
                    return self._told(reconstruct_volume(recon, volume, batch_size=size, tick=tick))
            except Exception as error:
                if isinstance(error, NO_ROOM) and size > 1:
                    self._release()
                    size //= 2
                elif recon is self._cpu or not self._can_move(error):
                    raise
                else:
                    recon = self._on_the_cpu()

    def fallback(self, made: KSpaceSlice | KSpaceVolume, reason: str, tick: Tick) -> ReconImage:
        """Return an image without the model, on the CPU where the device cannot."""
        try:
            return self._told(_fallback(self.recon, made, reason, tick))
        except Exception as error:
            if not self._can_move(error):
                raise
            return self._told(_fallback(self._on_the_cpu(), made, reason, tick))

    def _can_move(self, error: Exception) -> bool:
        """Whether the CPU may do what this error prevented."""
        return self.is_gpu and (isinstance(error, NO_ROOM) or self._is_device_to_blame(error))

    def _is_device_to_blame(self, error: Exception) -> bool:
        if self._own.device.type != "cuda" or not is_device_error(error):
            return False
        if not self.lost and not answers(self._own.device):
            self._give_up(error)
        return True

    def _give_up(self, error: Exception) -> None:
        self.lost = f"{self._name} is lost ({first_line(error)})"
        log.error("%s, its slices go to the CPU", self.lost)

    def _told(self, image: ReconImage) -> ReconImage:
        """Return the image with a warning where it was made without its device."""
        if not self.lost:
            return image
        warnings = (*image.report.warnings, f"computed on the CPU: {self.lost}")
        return replace(image, report=replace(image.report, warnings=warnings))

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


def _fallback(
    recon: Reconstructor, made: KSpaceSlice | KSpaceVolume, reason: str, tick: Tick
) -> ReconImage:
    if isinstance(made, KSpaceVolume):
        return fallback_volume(recon, made, reason, tick=tick)
    return recon.fallback(made, reason)


def _raised(check: Check) -> Exception | None:
    try:
        check()
    except Exception as error:
        return error
    return None


# FOLDED gadget/lost.py: Errors of a device rather than of a slice, and whether the device is still there after one.
WORDS = ("CUDA error", "HIP error", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "cuFFT error")


def is_device_error(error: BaseException) -> bool:
    """Whether the device is to blame; libraries report it as a `RuntimeError` of these words."""
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)


def answers(device: torch.device) -> bool:
    """Whether the device still computes."""
    try:
        return float(torch.ones(2, device=device).sum()) == 2.0
    except Exception:
        return False


def first_line(error: BaseException) -> str:
    """Return what went wrong without CUDA's advice on debugging."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip()
