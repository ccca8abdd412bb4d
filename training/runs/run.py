"""A training run: everything that surrounds a step of the supervised and the adversarial loop.

It opens data, networks, log and checkpoint; hands out batches; takes a step of an optimizer
safely; averages the weights; logs, validates and saves. The losses of a step are in the loops.

All that a step of a run by steps depends on is its number, the seed and the checkpoint, so a run
that was killed continues bit for bit as if it had not been. Not so with `scans.vary`, whose scans
are fresh ones after a continuation, nor by `minutes`, which follow the clock.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from jrsr_core.models.interfaces import Clock, ModelOutput
from jrsr_core.models.rec import data_step_of
from jrsr_core.tensors import without_waiting
from training.config import RunConfig
from training.data.acquire import SEED_STRIDE
from training.data.loading.batches import open_data
from training.data.loading.fresh import CAPACITY
from training.data.manifest import Manifest
from training.data.scans import TrainingScan
from training.errors import TrainingDiverged
from training.losses.objective import Pair, detail_terms
from training.losses.perceptual import difference_from_recipe, make_perceptual

from . import continuation, record
from .budget import Budget, Stopwatch, Validations
from .checkpoint import NAME as CHECKPOINT
from .checkpoint import RunState, part, read_checkpoint, write_checkpoint
from .feed import Feed
from .figures import StepFigures, of_whole_batches
from .log import Row, RunLog, take_row
from .networks.build import Learner, build_networks
from .networks.fixed_points import FixedPoints, set_iterations
from .networks.generator import run_generator, select_trainable
from .networks.initial_weights import recorded_start, start_facts
from .parallel import any_process, from_first, make_fabric
from .process import Stopped, StopSignal, lock_folder
from .update import update
from .validate import no_scans, validate

BAD_STEPS = 3
"""Steps in a row without a finite gradient that end a run."""


class Run:
    """One training run, alone in its folder; as a context it handles Ctrl-C and SIGTERM.

    Attributes
    ----------
    networks
        `Networks`: generator, average, discriminator, with their optimizers.
    perceptual
        The perceptual loss, or None.
    state
        `RunState`: counters.
    points
        `FixedPoints`: those kept with `fixed_point.warm_start`.
    budget
        `Budget`: what is left of the run.
    phase
        Phase of the current step.
    rng
        Random numbers of the current step.
    """

    def __init__(
        self,
        config: RunConfig,
        on_row: Callable[[Row], None] | None = None,
        watch: Stopwatch | None = None,
    ) -> None:
        self.config = config
        self.budget = Budget(config, (watch or Stopwatch()).started())
        if config.machine.n_threads:
            torch.set_num_threads(config.machine.n_threads)
        self.fabric = make_fabric(config)
        self.out = Path(config.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(self.out) if self.fabric.is_global_zero else None
        self._stop = StopSignal()
        self.log: RunLog | None = None
        self.feed: Feed | None = None
        try:
            self._open(on_row)
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> "Run":
        self._stop.listen()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.restore()
        self._release()

    def _release(self) -> None:
        for opened in (self.feed, self.log, self._lock):
            if opened is not None:
                opened.close()

    # Beginning, or continuing from a checkpoint.

    def _open(self, on_row: Callable[[Row], None] | None) -> None:
        config, device = self.config, self.fabric.device
        before = record.read_record(self.out) if continuation.holds_run(self.out) else {}
        if before:
            continuation.check_settings(self.out, before, config)
        perceptual = make_perceptual(config.loss)
        used = perceptual.facts if perceptual else None
        self.perceptual = perceptual.loss.to(device) if perceptual else None
        self.networks = build_networks(config, device, with_start=not before)
        data_step = data_step_of(self.networks.model) or ""
        self.folder, self.manifest = self._open_data()
        if before:
            sha256 = self.manifest.sha256
            continuation.check_perceptual(self.out, before, used)
            continuation.check_run(self.out, before, data_step, self.folder, sha256)
        limit = CAPACITY * config.optimizer.batch if config.scans.vary else 0
        self.points = FixedPoints(config.fixed_point, limit)
        self.state, self.figures = RunState(), StepFigures()
        if before:
            tensors, self.state = read_checkpoint(self.out)
            self.networks.restore(tensors, str(self.out / CHECKPOINT))
            self.points.points.update(part(tensors, "point"))
        self._saved_step = self.state.step if before else None
        self.budget.spent = self.state.elapsed
        self.budget.spent_per_step = self.state.elapsed / max(self.state.step, 1)
        if self.fabric.is_global_zero:
            if note := difference_from_recipe(used, config.loss.perceptual):
                sys.stderr.write(f"jrsr-train: {note}; the card will state it\n")
            if note := no_scans(config, self.manifest):
                sys.stderr.write(f"jrsr-train: {note}\n")
            start = recorded_start(before) if before else start_facts(config)
            facts = {record.DATA_STEP: data_step, "perceptual_used": used, **start}
            is_finished = not self.budget.allows_step(self.state.step)
            record.write_record(
                config, facts, self.folder, self.manifest, before, is_finished=is_finished
            )
            tensorboard = config.log.tensorboard
            self.log = RunLog(self.out, self.state.step, tensorboard=tensorboard, on_row=on_row)
        self.clock = Clock()
        self._last_save = time.monotonic()
        self.validations = Validations(self.budget)

    def _open_data(self) -> tuple[Path, Manifest]:
        # One process lists and hashes the inputs first; the others then find the folder.
        if not self.fabric.is_global_zero:
            self.fabric.barrier()
            return open_data(self.config, self.networks.n_maps)
        opened = open_data(self.config, self.networks.n_maps)
        self.fabric.barrier()
        return opened

    # A step.

    def batches(self) -> Iterator[tuple[list[str], TrainingScan]]:
        """Yield the names and scans of the batches from the current step to the last."""
        source = (self.config, self.folder, self.manifest, self.state.step, self.fabric)
        with Feed(*source, self._may_wait) as self.feed:
            self.clock = Clock()
            while not any_process(self.fabric, not self.budget.allows_step(self.state.step)):
                batch = self.feed.next()
                if any_process(self.fabric, batch is None) or batch is None:
                    break
                names, scan = batch
                scan = scan if self.networks.n_maps > 1 else scan.with_one_map()
                self._begin_step()
                self.clock.lap("data")
                yield names, scan
                self.feed.pace()
                self.clock = Clock()

    def _may_wait(self) -> bool:
        """Return whether a step may still begin once its scans are there."""
        return not self._stop.came and self.budget.has_time(0)

    def _begin_step(self) -> None:
        seed = self.config.seed * SEED_STRIDE + self.state.step
        torch.manual_seed(seed)
        self.rng = Generator().manual_seed(seed)
        step, share = self.state.step, from_first(self.fabric, self.budget.share)
        self.phase, self.rate = self.budget.phase(step, share), self.budget.rate(step, share)
        self.networks.begin_step(self.rate)
        if self.config.phases.recon:
            select_trainable(self.networks.model, self.config, self.phase.name)

    def not_waiting(self) -> AbstractContextManager[None]:
        """Return a context in which no solver and no clock waits for a GPU; see `tensors`."""
        return without_waiting() if self.fabric.device.type == "cuda" else nullcontext()

    def predict(self, names: list[str], scan: TrainingScan) -> tuple[ModelOutput, TrainingScan]:
        """Run the generator; return its output and the scan with the truth that goes with it."""
        model, warm_start, x0 = self.networks.model, self.config.fixed_point.warm_start, None
        if warm_start:
            x0, n_iter = self.points.start(names, scan)
            set_iterations(model, n_iter)
            if model.keeps_first_pass and not self.points.has(names):
                x0 = None
        settings = (self.config, self.phase.name, self.rng, x0)
        with self.fabric.autocast():
            output, truth, points = run_generator(model, scan, *settings)
        if warm_start:
            self.points.keep(names, points)
        self.clock.lap("forward")
        return output, truth

    def detail_terms(self, names: list[str], pair: Pair, truth: TrainingScan) -> dict[str, Tensor]:
        """Return the losses on magnitudes; a patch, like a fresh scan, does not come again."""
        again = () if self.config.patch.size or self.config.scans.vary else names
        return detail_terms(pair, truth, self.config.loss, self.perceptual, self.rng, again)

    def update(self, loss: Tensor, learner: Learner) -> Tensor:
        """Take a step of a learner; one that is not finite changes nothing. See `update`."""
        finite = update(self.fabric, loss, learner, self.clock)
        self.networks.keep_buffers(learner, finite)
        return finite

    def finish_step(self, terms: dict[str, Tensor], output: ModelOutput, finite: Tensor) -> None:
        """Average the weights, count, log, validate and save.

        Raises
        ------
        TrainingDiverged
            `BAD_STEPS` steps in a row without a finite gradient.
        Stopped
            A signal came during the step; its result is saved.
        """
        state, log = self.state, self.config.log
        decay = from_first(self.fabric, self.budget.decay(state.step))
        if finite.is_cuda or finite:  # On a GPU a step that was left out changed nothing.
            self.networks.update_average(decay)
        self.budget.end_step()
        state.step += 1
        self.figures.add(terms, output, finite, self.clock.laps)
        if not finite.is_cuda or state.step % log.every == 0:
            self._read_figures()
        is_last = state.step == self.config.steps and not self.budget.is_timed
        if state.step % log.every == 0 or is_last:
            self._write_row()
        if from_first(self.fabric, self.validations.are_due(state.step)):
            self._validate()
        if any_process(self.fabric, self._stop.came):
            self.save()
            raise Stopped(state.step)
        if time.monotonic() - self._last_save > 60 * log.checkpoint_minutes:
            self.save()

    def _read_figures(self) -> None:
        """Add the figures of the last steps to the state; a GPU is waited for here alone."""
        self.figures.read(self.state)
        if self.state.bad >= BAD_STEPS:
            self._give_up()

    def _write_row(self) -> None:
        """Log the steps since the last row, with the shares of all processes."""
        self._read_figures()
        of_whole_batches(self.fabric, self.state)
        self.state.elapsed = self.budget.elapsed
        row = take_row(self.state, self.config, self.phase.name, self.rate)
        if self.log is not None:
            self.log.write(row | (self.feed.facts() if self.feed else {}))

    def _validate(self, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Judge the averaged weights on validation scans, in the process that logs."""
        with self.validations.timed():
            if self.log is not None:
                data = (self.config, self.folder, self.manifest, self.fabric.device)
                row, pictures = validate(self.networks.average, *data, self.perceptual, goes_on)
                if row:
                    self.log.write({"step": self.state.step, **row})
                for name, picture in pictures.items():
                    self.log.write_picture(name, picture, self.state.step)
            self.fabric.barrier()

    def _give_up(self) -> None:
        """Save what the bad steps left as it was, and end; fixed points are sought anew."""
        step = self.state.step
        if all(bool(torch.isfinite(t).all()) for t in self.networks.tensors().values()):
            self.save()
        kept = f"{CHECKPOINT} holds the state of step {self._saved_step}"
        if self._saved_step is None:
            kept = f"there is no {CHECKPOINT} yet"
        elif self._saved_step == step:
            kept = f"the last good state is in {CHECKPOINT}"
        raise TrainingDiverged(
            f"{self.out}: {self.state.bad} steps in a row without a finite gradient up to step "
            f"{step}; {kept}"
        )

    # Saving.

    def _tensors(self) -> dict[str, Tensor]:
        """Return everything that training changes."""
        # Fresh scans never come back, and neither do their fixed points.
        points = {} if self.config.scans.vary else self.points.points
        return self.networks.tensors() | {f"point.{k}": v for k, v in points.items()}

    def save(self) -> None:
        """Write a checkpoint, in one process."""
        self.figures.read(self.state)
        self.state.elapsed = self.budget.elapsed
        if self.fabric.is_global_zero:
            write_checkpoint(self.out, self._tensors(), self.state)
        self._saved_step = self.state.step
        self._last_save = time.monotonic()

    def finish(self) -> nn.Module:
        """Save and return the averaged generator; before a deadline validate it as well.

        A run without a step is not saved, so that the time it took is not counted as spent.

        Raises
        ------
        Stopped
            A signal came while a step was waited for, or was left out.
        ValueError
            No step was over before the deadline.
        """
        self._read_figures()
        if self.state.counts:
            self._write_row()
        if self.state.step:
            self.save()
        if any_process(self.fabric, self._stop.came):
            raise Stopped(self.state.step)
        if not self.state.step:
            raise ValueError(
                f"{self.out}: no step was over before the deadline, minutes is "
                f"{self.config.minutes:g}: give more minutes, smaller scans or a smaller "
                "optimizer.batch, more machine.workers, or prepared scans"
            )
        if self.budget.is_timed:
            self._validate(self.validations.until_export(lambda: self._stop.came))
            self.save()
        return self.networks.average
