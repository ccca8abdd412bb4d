"""The skeleton of a run that the supervised and the adversarial script share.

It opens data, networks, log and checkpoint; hands out batches; steps an optimizer safely; averages
the weights; logs, validates and saves. What is computed within a step stands in the scripts.

All that a step depends on is its number, the seed and what the checkpoint holds, so a run that was
killed goes on bit for bit as if it had not been.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.models.rec import data_step_of
from training.config import RunConfig
from training.data.batches import open_data, train_batches
from training.data.scans import TrainingScan
from training.errors import TrainingDiverged
from training.losses.perceptual import describe, make_perceptual

from .checkpoint import NAME as CHECKPOINT
from .checkpoint import RunState, part, read_checkpoint, write_checkpoint
from .fixed_points import FixedPoints, fixed_points_of, set_iterations
from .initial_weights import start_hashes
from .log import Meter, RunLog, make_row
from .networks import build_networks
from .parallel import any_process, average_gradients, average_statistics, make_fabric
from .parts import select_trainable, split_parts
from .patches import patch_output
from .process import StopSignal, claim
from .provenance import check_run, check_settings, read_facts, started_from, write_facts
from .schedule import Phase, learning_rate, phase_at
from .validate import validate


class Run:
    """One training run, alone in its folder; as a context it listens to Ctrl-C and SIGTERM.

    Attributes
    ----------
    networks
        `Networks`: generator, average, discriminator, optimizers.
    perceptual
        The perceptual loss, or None.
    state
        `RunState`.
    generator
        Random numbers of the current step.
    """

    def __init__(self, config: RunConfig, tell: Callable[[dict], None] | None = None) -> None:
        self.config, self.tell = config, tell
        if config.n_threads:
            torch.set_num_threads(config.n_threads)
        self.fabric = make_fabric(config)
        self.out = Path(config.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self._claim = claim(self.out) if self.fabric.is_global_zero else None
        self._stop = StopSignal()
        self.log: RunLog | None = None
        try:
            self._open()
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
        if self.log is not None:
            self.log.close()
        if self._claim is not None:
            self._claim.close()

    def _open(self) -> None:
        config = self.config
        before = read_facts(self.out)
        check_settings(self.out, before, config)
        perceptual = make_perceptual(config)
        self.perceptual = perceptual.loss.to(self.fabric.device) if perceptual else None
        self.networks = build_networks(config, self.fabric.device, with_start=not before)
        self.data_step = data_step_of(self.networks.model) or ""
        self.folder, self.manifest = self._open_data()
        check_run(self.out, before, self.data_step, self.folder, self.manifest.sha256)
        self.points = FixedPoints(config)
        self.state = RunState()
        self._resume()
        self.meter = Meter(self.fabric.device)
        if self.fabric.is_global_zero:
            used = perceptual.facts if perceptual else None
            if note := describe(used, config):
                sys.stderr.write(f"jrsr-train: {note}, and the card will say so\n")
            starts = started_from(before) if before else start_hashes(config)
            facts = {"data_step": self.data_step, "perceptual_used": used, **starts}
            write_facts(config, facts, self.folder, self.manifest)
            self.log = RunLog(
                self.out, self.state.step, tensorboard=config.tensorboard, tell=self.tell
            )
        self._last_save = time.monotonic()

    def _open_data(self):
        # One process lists and hashes the inputs first; the others then find the folder.
        if self.fabric.is_global_zero:
            opened = open_data(self.config, self.networks.n_maps)
        self.fabric.barrier()
        if not self.fabric.is_global_zero:
            opened = open_data(self.config, self.networks.n_maps)
        return opened

    # Checkpoints.

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that training changes."""
        return self.networks.tensors() | {f"point.{k}": v for k, v in self.points.points.items()}

    def save(self) -> None:
        """Write a checkpoint, in one process."""
        if self.fabric.is_global_zero:
            write_checkpoint(self.out, self.tensors(), self.state)
        self._last_save = time.monotonic()

    def _resume(self) -> None:
        if (self.out / CHECKPOINT).exists():
            tensors, self.state = read_checkpoint(self.out)
            self.networks.restore(tensors, str(self.out / CHECKPOINT))
            self.points.points = part(tensors, "point")

    # A step.

    @property
    def phase(self) -> Phase:
        """Phase of the current step."""
        return phase_at(self.state.step, self.config)

    def batches(self) -> Iterator[tuple[list[str], TrainingScan]]:
        """Yield the batches from the current step to the last, on the device."""
        fabric, source = self.fabric, (self.config, self.folder, self.manifest, self.state.step)
        self.meter.start()
        for names, scan in train_batches(*source, fabric.global_rank, fabric.world_size):
            scan = scan if self.networks.n_maps > 1 else scan.with_one_map()
            scan = scan.to(fabric.device)
            self._begin_step()
            self.meter.lap("data")
            yield names, scan
            self.meter.start()

    def _begin_step(self) -> None:
        seed = self.config.seed * 1_000_003 + self.state.step
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.networks.begin_step(learning_rate(self.state.step, self.config))
        if self.config.sequential:
            select_trainable(self.networks.model, self.phase.name)

    def predict(self, names: list[str], scan: TrainingScan) -> tuple[ModelOutput, TrainingScan]:
        """Run the generator; return its output and the truth that goes with it.

        In the phase `recon` the reconstruction alone, with `patch` a patch of both.
        """
        model, config, x0 = self.networks.model, self.config, None
        if config.warm_start:
            x0, n_iter = self.points.start(names, scan)
            set_iterations(model, n_iter)
        with self.fabric.autocast():
            if config.patch:
                output, scan, points = patch_output(model, scan, config, self.generator, x0=x0)
            elif self.phase.name == "recon" and hasattr(model, "recon"):
                recon, _ = split_parts(model)
                points = recon(scan.kspace, scan.sense.at_low_resolution(), scan.noise_std)
                output = ModelOutput(points, points)
            else:
                start = {} if x0 is None else {"x0": x0}
                output = model(scan.kspace, scan.sense, scan.noise_std, **start)
                points = fixed_points_of(model, output)
        if config.warm_start:
            self.points.keep(names, points)
        self.meter.lap("forward")
        return output, scan

    def update(self, loss: Tensor, module: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
        """Backward, average over processes, clip, step; return whether the gradient was finite.

        A gradient that is not finite leaves weights and moments as they were.
        """
        self.meter.lap("losses")
        loss.backward()
        average_gradients(self.fabric, module.parameters())
        norm = nn.utils.clip_grad_norm_(module.parameters(), self.config.clip_norm or math.inf)
        self.meter.lap("backward")
        finite = bool(torch.isfinite(norm))
        if finite:
            optimizer.step()
        average_statistics(self.fabric, module)
        self.meter.lap("optimizer")
        return finite

    def finish_step(self, terms: dict[str, Tensor], output: ModelOutput, finite: bool) -> None:
        """Average the weights, count, log, validate and save.

        Raises
        ------
        TrainingDiverged
            `bad_steps` steps in a row without a finite gradient.
        KeyboardInterrupt
            A signal came during the step; its result is saved.
        """
        state, config = self.state, self.config
        if finite:
            # A young average forgets its start sooner.
            self.networks.update_average(min(config.ema, (1 + state.step) / (10 + state.step)))
        state.step += 1
        state.bad = 0 if finite else state.bad + 1
        self.meter.count(state, terms, output)
        if state.bad >= config.bad_steps:
            self._give_up()
        if state.step % config.log_every == 0 or state.step == config.steps:
            self._log_row()
        if config.validate_every and state.step % config.validate_every == 0:
            self._validate()
        if any_process(self.fabric, self._stop.came):
            self.save()
            raise KeyboardInterrupt
        if time.monotonic() - self._last_save > 60 * config.checkpoint_minutes:
            self.save()

    def _log_row(self) -> None:
        row = make_row(self.state, self.config)
        if self.log is not None:
            self.log.write(row)

    def _validate(self) -> None:
        """Judge the averaged weights on validation scans, in one process."""
        if self.fabric.is_global_zero:
            data = (self.config, self.folder, self.manifest, self.fabric.device)
            row, pictures = validate(self.networks.average, *data, self.perceptual)
            if row:
                self.log.write({"step": self.state.step, **row})
            for name, picture in pictures.items():
                self.log.picture(name, picture, self.state.step)
        self.fabric.barrier()

    def _give_up(self) -> None:
        if all(bool(torch.isfinite(t).all()) for t in self.tensors().values()):
            self.save()
        raise TrainingDiverged(
            f"{self.out}: {self.state.bad} steps in a row without a finite gradient up to step "
            f"{self.state.step}; the last good state is in {CHECKPOINT}"
        )

    def finish(self) -> nn.Module:
        """Save and return the averaged generator."""
        self.save()
        return self.networks.average
