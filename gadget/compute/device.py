"""One device, which computes batches of slices and volumes as large as its memory allows.

A batch that does not fit is halved. The CPU computes a single slice that does not fit, and a slice
that met an error of the GPU. A GPU that does not respond after such an error is lost: the CPU
replaces it from then on, and the images carry a warning. The error of a slice is its outcome and is
not raised, since the thread that computes it may belong to another scan.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from jrsr_core.calibration.calibrate import CalibratedSlice
from jrsr_core.common.cancellation import Cancelled, Check, time_limit, watched
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.reconstruction.fallback import fallback_image
from jrsr_core.reconstruction.reconstructor import Reconstructor
from jrsr_core.reconstruction.volume import Tick, reconstruct_volume

log = logging.getLogger("jrsr")

Load = Callable[[str], Reconstructor]
"""Loads the model on the device of this name."""

OUT_OF_MEMORY = (torch.cuda.OutOfMemoryError, MemoryError)
GPU_ERRORS = (
    *("CUDA error", "HIP error", "cuDNN error"),
    *("CUDNN_STATUS", "CUBLAS_STATUS", "cuFFT error"),
)
"""What a `RuntimeError` contains when a library reports an error of the GPU by it."""


@dataclass(eq=False)
class SliceTask:
    """One slice in the queue of an engine, with its image or error once it has been computed.

    Attributes
    ----------
    check
        Raises when nobody waits for the image any more.
    seconds
        Time limit; 0 for no limit.
    """

    slice_: KSpaceSlice
    check: Check
    seconds: float = 0.0
    outcome: ReconImage | Exception | None = None


class DeviceWorker:
    """Reconstructs on one device, for one thread at a time.

    Parameters
    ----------
    name
        Name of the device.
    load
        Loads the model; called again for "cpu" when the CPU has to replace a GPU.
    batch_size
        Slices of one batch on a GPU, and readout positions of a volume on any device.

    Attributes
    ----------
    lost
        Why the GPU cannot be used any more, as one line; empty while it can.
    """

    def __init__(self, name: str, load: Load, batch_size: int) -> None:
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
        """The model on the device, or on the CPU if the device is lost."""
        return self._on_cpu() if self.lost else self._own

    @property
    def slices_at_once(self) -> int:
        """Size of a batch."""
        return self.batch_size if self._has_gpu else 1

    @property
    def _has_gpu(self) -> bool:
        return self._own.device.type == "cuda" and not self.lost

    def compute(self, tasks: list[SliceTask]) -> None:
        """Compute the outcome of every task."""
        recon = self.recon
        ready, calibrated = [], []
        for task in tasks:
            try:
                with _limited(task):
                    calibrated.append(recon.slices.calibrated(task.slice_))
                ready.append(task)
            except Exception as error:
                self._fail(recon, task, error)
        if ready:
            self._compute_batch(recon, ready, calibrated)

    def _compute_batch(
        self, recon: Reconstructor, tasks: list[SliceTask], calibrated: list[CalibratedSlice]
    ) -> None:
        if recon is not self.recon:
            # The GPU was lost together with what was calibrated on it.
            return self._compute_on_cpu(tasks)
        try:
            with _limited(*tasks):
                images = recon.slices.batch([task.slice_ for task in tasks], calibrated)
        except Exception as error:
            if len(tasks) == 1:
                self._fail(recon, tasks[0], error)
            elif self._is_gpu_error(recon, error):
                self._compute_on_cpu(tasks)
            else:
                # Too large, or one slice is to blame: the others shall have their images.
                self._release()
                middle = len(tasks) // 2
                self._compute_batch(recon, tasks[:middle], calibrated[:middle])
                self._compute_batch(recon, tasks[middle:], calibrated[middle:])
        else:
            for task, image in zip(tasks, images, strict=True):
                task.outcome = self._with_warning(image)

    def _fail(self, recon: Reconstructor, task: SliceTask, error: Exception) -> None:
        if self._can_cpu_replace(recon, error):
            self._compute_on_cpu([task])
        else:
            task.outcome = error

    def _compute_on_cpu(self, tasks: list[SliceTask]) -> None:
        for task in tasks:
            try:
                with _limited(task):
                    task.outcome = self._with_warning(self._on_cpu()(task.slice_))
            except Exception as error:
                task.outcome = error

    def compute_volume(self, volume: KSpaceVolume, tick: Tick, seconds: float) -> ReconImage:
        """Return the image of a volume; raises as `reconstruct_volume`.

        `seconds` is the time limit of a readout position, on average.
        """
        recon, size = self.recon, self.batch_size
        while True:
            try:
                with time_limit(seconds * volume.n_positions):
                    image = reconstruct_volume(recon.slices, volume, batch_size=size, tick=tick)
                return self._with_warning(image)
            except Exception as error:
                if isinstance(error, OUT_OF_MEMORY) and size > 1:
                    self._release()
                    size //= 2
                elif self._can_cpu_replace(recon, error):
                    recon = self._on_cpu()
                else:
                    raise

    def fallback(self, data: KSpaceSlice | KSpaceVolume, reason: str, tick: Tick) -> ReconImage:
        """Return a conventional reconstruction, made on the CPU if the GPU fails in any way."""
        recon = self.recon
        try:
            image = fallback_image(recon.slices, data, reason, tick=tick)
        except Exception as error:
            if recon.device.type == "cpu" or isinstance(error, Cancelled):
                raise
            self._is_gpu_error(recon, error)
            image = fallback_image(self._on_cpu().slices, data, reason, tick=tick)
        return self._with_warning(image)

    def _on_cpu(self) -> Reconstructor:
        self._release()
        if self._cpu is None:
            self._cpu = self._load("cpu")
        return self._cpu

    def _release(self) -> None:
        """Release the memory that a failed attempt holds."""
        if self._has_gpu:
            torch.cuda.empty_cache()

    def _can_cpu_replace(self, recon: Reconstructor, error: Exception) -> bool:
        """Whether the CPU may compute what failed with this error."""
        if recon.device.type != "cuda":
            return False
        return isinstance(error, OUT_OF_MEMORY) or self._is_gpu_error(recon, error)

    def _is_gpu_error(self, recon: Reconstructor, error: Exception) -> bool:
        """Whether the GPU is to blame; it is given up if it does not respond any more."""
        if recon.device.type != "cuda" or not is_device_error(error):
            return False
        if not self.lost and not responds(recon.device):
            self._give_up(error)
        return True

    def _give_up(self, error: Exception) -> None:
        # CUDA adds advice on debugging to the first line.
        reason = (str(error).splitlines() or [type(error).__name__])[0].strip()
        self.lost = f"{self._name} is lost ({reason})"
        log.error("%s, the CPU computes its slices", self.lost)

    def _with_warning(self, image: ReconImage) -> ReconImage:
        """Add a warning if the CPU replaced a lost GPU."""
        if not self.lost:
            return image
        warnings = (*image.report.warnings, f"computed on the CPU: {self.lost}")
        return replace(image, report=replace(image.report, warnings=warnings))


@contextmanager
def _limited(*tasks: SliceTask) -> Iterator[None]:
    """Stop at the time limit, or when nobody waits for any of the images any more."""

    def check() -> None:
        errors = [error for error in map(_error_of, (task.check for task in tasks)) if error]
        if len(errors) == len(tasks):
            raise errors[0]

    limits = [task.seconds for task in tasks]
    with watched(check), time_limit(sum(limits) if all(limits) else 0.0):
        yield


def _error_of(check: Check) -> Exception | None:
    try:
        check()
    except Exception as error:
        return error
    return None


def is_device_error(error: BaseException) -> bool:
    """Return whether an error is one of the GPU rather than of the slice."""
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in GPU_ERRORS)


def responds(device: torch.device) -> bool:
    """Return whether a device still computes."""
    try:
        return float(torch.ones(2, device=device).sum()) == 2.0
    except Exception:
        return False
