"""How long a run goes on: to its last step, or to a deadline on a clock.

A run by `minutes` ends its training early enough for validation and export, `log.final_minutes`
before the deadline but at most a tenth of `minutes`. It begins no step that would not be over by
then, and leaves one out that takes longer than those before it. Everything that its schedule
depends on is the time since its beginning, with what earlier runs in the same folder have spent.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from jrsr_core.common.cancellation import watched
from training.config import RunConfig

from .schedule import (
    Phase,
    average_decay,
    learning_rate,
    phase_at,
    timed_phase,
    timed_rate,
)

FINAL_SHARE = 0.1
EXPORT_SHARE = 0.25
"""Largest share of `minutes` for validation and export; share of these for export alone."""

N_DURATIONS = 20
"""The next step is expected to take as long as the longest of so many before it: batches differ in
shape."""


class OutOfTime(Exception):
    """The time of training is over within a step, which is left out."""


@dataclass(frozen=True)
class Stopwatch:
    """A clock in seconds, and when the run began on it; the command is older than the run."""

    now: Callable[[], float] = time.monotonic
    began: float | None = None

    def started(self) -> "Stopwatch":
        """Return the same clock with a beginning, now where there is none."""
        return self if self.began is not None else Stopwatch(self.now, self.now())

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self.now() - (self.now() if self.began is None else self.began)


@dataclass(eq=False)
class Budget:
    """What is left of a run, and where its schedule is.

    Attributes
    ----------
    spent, spent_per_step
        Seconds of earlier runs in the same folder.
    """

    config: RunConfig
    watch: Stopwatch
    spent: float = 0.0
    spent_per_step: float = 0.0
    _durations: deque[float] = field(default_factory=lambda: deque(maxlen=N_DURATIONS))
    _began_step: float | None = None

    @property
    def is_timed(self) -> bool:
        """Whether the run ends at a deadline."""
        return bool(self.config.minutes)

    @property
    def elapsed(self) -> float:
        """Seconds of the run, with those of earlier ones in its folder."""
        return self.spent + self.watch.elapsed

    @property
    def total(self) -> float:
        """Seconds from the beginning to the deadline."""
        return 60 * self.config.minutes

    @property
    def final(self) -> float:
        """Seconds kept for validation and export."""
        return min(60 * self.config.log.final_minutes, FINAL_SHARE * self.total)

    @property
    def training(self) -> float:
        """Seconds from the beginning to the end of the training."""
        return self.total - self.final

    @property
    def share(self) -> float:
        """Share of the time of training that is over, 1 at most; 0 in a run by steps."""
        return min(self.elapsed / self.training, 1.0) if self.is_timed else 0.0

    @property
    def step_seconds(self) -> float:
        """Seconds that the next step is expected to take, 0 before the first of a run."""
        return max(self._durations, default=self.spent_per_step)

    def has_time(self, seconds: float) -> bool:
        """Return whether work of so many seconds ends before the training does."""
        return not self.is_timed or self.elapsed + seconds < self.training

    def allows_step(self, step: int) -> bool:
        """Return whether a step begins; called before its data is waited for."""
        self._began_step = self.watch.elapsed
        if not self.is_timed:
            return step < self.config.steps
        return self.has_time(self.step_seconds)

    def end_step(self) -> None:
        """Note how long the step took that began with the last `allows_step`."""
        if self._began_step is not None:
            self._durations.append(self.watch.elapsed - self._began_step)

    def has_time_to_validate(self, slice_seconds: float = 0.0) -> bool:
        """Return whether the final validation goes on; the rest of the time is for the export."""
        return self.total - self.elapsed > EXPORT_SHARE * self.final + slice_seconds

    def check(self) -> None:
        """Raise `OutOfTime` at the end of the training; solvers call this at every iteration."""
        if self.is_timed and self.elapsed > self.training:
            raise OutOfTime

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Leave the context at the end of the training, even in the middle of a step."""
        with suppress(OutOfTime), watched(self.check):
            yield

    # The schedule.

    def phase(self, step: int, share: float) -> Phase:
        """Return the phase of a step that begins at a share of the time."""
        return timed_phase(share, self.config) if self.is_timed else phase_at(step, self.config)

    def rate(self, step: int, share: float) -> float:
        """Return the learning rate of a step that begins at a share of the time."""
        if self.is_timed:
            return timed_rate(share, step, self.config)
        return learning_rate(step, self.config)

    def decay(self, step: int) -> float:
        """Return the decay of the moving average of the weights after a step."""
        share = self.step_seconds / self.training if self.is_timed else 0.0
        return average_decay(step, self.config, share)


class Validations:
    """When a run validates on its way: by steps, by minutes, and only if it is over in time."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._last, self._seconds = budget.watch.now(), 0.0

    def are_due(self, step: int) -> bool:
        """Return whether to validate after a step; it is expected to take as long as before."""
        log, budget = self.budget.config.log, self.budget
        due = bool(log.validate_every) and step % log.validate_every == 0
        if log.validate_minutes:
            due |= budget.watch.now() - self._last > 60 * log.validate_minutes
        return due and budget.has_time(self._seconds)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Note when the validation within the context ended, and how long it took."""
        began = self.budget.watch.now()
        yield
        self._last = self.budget.watch.now()
        self._seconds = self._last - began

    def until_export(self, stopped: Callable[[], bool]) -> Callable[[], bool]:
        """Return whether there is time for another slice, each as long as the longest before."""
        budget = self.budget
        seconds, last = budget.step_seconds / budget.config.optimizer.batch, budget.elapsed

        def goes_on() -> bool:
            nonlocal seconds, last
            seconds, last = max(seconds, budget.elapsed - last), budget.elapsed
            return budget.has_time_to_validate(seconds) and not stopped()

        return goes_on
