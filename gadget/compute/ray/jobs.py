"""Work for the workers of a cluster, and the workers as the pool sees them."""

import itertools
import re
from dataclasses import dataclass, field

from ray.actor import ActorHandle

from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.reconstruction.reconstructor import Reconstructor

_numbers = itertools.count()


class RemoteFailure(ValueError):
    """What went wrong on a worker, as one line."""


class NoWorker(RemoteFailure):
    """Nobody is there to compute."""


def reason_of(error: BaseException) -> str:
    """Return the line that matters of what Ray says of a worker: its own error where it had one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    why = [line for line in lines if line.startswith("The actor is dead because")]
    return (own[-1:] or why or lines or [type(error).__name__])[0][:300]


@dataclass(eq=False)
class Model:
    """A model for the workers; `device` is theirs where empty."""

    recon: Reconstructor
    batch_size: int
    device: str = ""
    key: int = field(default_factory=lambda: next(_numbers))


@dataclass(eq=False)
class Job:
    """One slice or volume on its way; `seconds` as in `Engine`, `limit` for all of it."""

    model: Model
    work: KSpaceSlice | KSpaceVolume
    seconds: float = 0.0
    number: int = field(default_factory=lambda: next(_numbers))
    n_attempts: int = 0
    is_wanted: bool = True
    outcome: ReconImage | Exception | None = None

    @property
    def limit(self) -> float:
        """Seconds that it may take; 0 for no limit."""
        return self.seconds * getattr(self.work, "n_positions", 1)

    @property
    def method(self) -> str:
        """Which one of the worker's."""
        return "volume" if isinstance(self.work, KSpaceVolume) else "slice"


@dataclass(eq=False)
class Hand:
    """A worker as the pool sees it: free where `is_there` and without a job.

    `since` is when the job was sent, the last answer came, or the question that is open was asked.
    """

    handle: ActorHandle
    since: float
    where: str = ""
    is_there: bool = False
    job: Job | None = None

    @property
    def is_free(self) -> bool:
        """Whether it can have a job."""
        return self.is_there and self.job is None
