"""The skeleton of a run that the supervised and the adversarial script share.

It opens data, networks, optimizers, log and checkpoint; hands out batches; steps an optimizer
safely; averages the weights; logs, validates and saves. What is computed within a step stands in
the scripts.

All that a step depends on is its number, the seed and what the checkpoint holds, so a run that was
killed goes on bit for bit as if it had not been.
"""

import copy
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from jrsr_core.models import build_model
from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.weights import load_weights

from .batches import open_data, train_batches
from .checkpoint import NAME as CHECKPOINT
from .checkpoint import (
    CheckpointError,
    RunState,
    load_matching,
    load_optimizer,
    pack_module,
    pack_optimizer,
    part,
    read_checkpoint,
    write_checkpoint,
)
from .config import RunConfig
from .discriminators import build_discriminator
from .errors import TrainingDiverged
from .fixed_points import (
    FixedPoints,
    running_residual,
    set_backward,
    set_iterations,
    takes_start,
)
from .log import RunLog
from .parallel import average_gradients, average_statistics, make_fabric
from .parts import compile_networks, select_trainable, split_parts
from .patches import check_patches, patch_output
from .perceptual import make_perceptual
from .scans import TrainingScan
from .schedule import Phase, learning_rate, phase_at
from .validate import validate

CONFIG = "config.json"
FIXED_ARCHITECTURE = ("model", "preset", "loop", "discriminator", "discriminator_norm")


class Run:
    """One training run.

    Attributes
    ----------
    model, average, discriminator
        Generator, its moving average, and the discriminator or None.
    optimizer, discriminator_optimizer
        Adam of each.
    perceptual
        `Perceptual` or None.
    state
        `RunState`.
    """

    def __init__(self, config: RunConfig, tell: Callable[[dict], None] | None = None) -> None:
        self.config, self.tell = config, tell
        if config.n_threads:
            torch.set_num_threads(config.n_threads)
        self.fabric = make_fabric(config)
        self.out = Path(config.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self._check_folder()
        self.perceptual = make_perceptual(config)
        self._build()
        self.folder, self.manifest = self._open_data()
        self.points = FixedPoints(config)
        self.state = RunState()
        self._resume()
        self.log = None
        if self.fabric.is_global_zero:
            self._write_facts()
            self.log = RunLog(self.out, self.state.step, tensorboard=config.tensorboard)
        self._clock: dict[str, float] = {}
        self._last_save = time.monotonic()

    # Opening.

    def _open_data(self):
        # One process lists (and hashes) the inputs first; the others then find the folder.
        if self.fabric.is_global_zero:
            opened = open_data(self.config, self.n_maps)
        self.fabric.barrier()
        return opened if self.fabric.is_global_zero else open_data(self.config, self.n_maps)

    def _check_folder(self) -> None:
        """Refuse to go on with a folder that holds a run of another kind."""
        path = self.out / CONFIG
        if not (path.exists() and (self.out / CHECKPOINT).exists()):
            return
        before = json.loads(path.read_text())
        for key in FIXED_ARCHITECTURE:
            if before.get(key) != getattr(self.config, key):
                raise CheckpointError(
                    f"{self.out}: holds a run with {key} {before.get(key)}, "
                    f"the recipe says {getattr(self.config, key)}"
                )

    def _build(self) -> None:
        config, device = self.config, self.fabric.device
        torch.manual_seed(config.seed)
        model = build_model(config.model, preset=config.preset)
        if not any(p.requires_grad for p in model.parameters()):
            raise ValueError(f"{config.model} has nothing to train (loop=tune chooses its numbers)")
        self.n_maps = getattr(model, "n_maps", 1)
        self.model = model.to(device, memory_format=torch.channels_last).train()
        if config.warm_start and not takes_start(model):
            raise ValueError(f"warm_start is for models with a fixed point, not {config.model}")
        if config.warm_start and self.fabric.world_size > 1:
            raise ValueError("warm_start keeps fixed points in one process: use devices=1")
        check_patches(model, config)
        if config.sequential and not list(split_parts(model)[0].parameters()):
            raise ValueError(f"sequential is {config.sequential}, but the reconstruction is fixed")
        if config.init:
            load_start(self.model, config.init)
        set_backward(self.model, config)
        set_iterations(self.model, config.max_iterations)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = self._adam(self.model)
        self.discriminator = self.discriminator_optimizer = None
        if config.loop == "adversarial":
            width, norm = config.discriminator_width, config.discriminator_norm
            built = build_discriminator(config.discriminator, config.preset, width=width, norm=norm)
            self.discriminator = built.to(device).train()
            self.discriminator_optimizer = self._adam(self.discriminator)
        if self.perceptual is not None:
            self.perceptual.loss.to(device)
        if config.compile:
            compile_networks(self.model, self.discriminator, config.compile)

    def _adam(self, module: nn.Module) -> torch.optim.Adam:
        betas = (self.config.adam_beta1, self.config.adam_beta2)
        rate, eps = self.config.learning_rate, self.config.adam_eps
        return torch.optim.Adam(module.parameters(), lr=rate, betas=betas, eps=eps)

    def _write_facts(self) -> None:
        perceptual = self.perceptual.facts if self.perceptual else None
        if perceptual and perceptual["fallback"]:
            sys.stderr.write(
                f"jrsr-train: no weights of {perceptual['wanted']}: the perceptual loss is "
                f"{perceptual['used']}, and the card will say so\n"
            )
        facts = {
            "data_sha256": self.manifest.sha256,
            "data_folder": str(self.folder),
            "perceptual_used": perceptual,
            "torch": torch.__version__,
        }
        (self.out / CONFIG).write_text(json.dumps(asdict(self.config) | facts, indent=1))

    # Checkpoints.

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that training changes."""
        tensors = pack_module("model", self.model) | pack_module("average", self.average)
        tensors |= pack_optimizer("adam", self.optimizer)
        if self.discriminator is not None:
            tensors |= pack_module("discriminator", self.discriminator)
            tensors |= pack_optimizer("adam_d", self.discriminator_optimizer)
        return tensors | {f"point.{k}": v for k, v in self.points.points.items()}

    def save(self) -> None:
        """Write a checkpoint, in one process."""
        if self.fabric.is_global_zero:
            write_checkpoint(self.out, self.tensors(), self.state)
        self._last_save = time.monotonic()

    def _resume(self) -> None:
        if not (self.out / CHECKPOINT).exists():
            return
        tensors, self.state = read_checkpoint(self.out)
        where = str(self.out / CHECKPOINT)
        load_matching(self.model, part(tensors, "model"), where)
        load_matching(self.average, part(tensors, "average"), where)
        load_optimizer(self.optimizer, part(tensors, "adam"))
        if self.discriminator is not None:
            load_matching(self.discriminator, part(tensors, "discriminator"), where)
            load_optimizer(self.discriminator_optimizer, part(tensors, "adam_d"))
        self.points.points = part(tensors, "point")

    # A step.

    def batches(self) -> Iterator[tuple[list[str], TrainingScan]]:
        """Yield the batches from the current step to the last, on the device."""
        source = train_batches(
            self.config,
            self.folder,
            self.manifest,
            self.state.step,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        start = time.perf_counter()
        for names, scan in source:
            scan = scan if self.n_maps > 1 else scan.with_one_map()
            scan = scan.to(self.fabric.device)
            self._clock = {"data": time.perf_counter() - start}
            self._begin_step()
            yield names, scan
            start = time.perf_counter()

    @property
    def phase(self) -> Phase:
        """Phase of the current step."""
        return phase_at(self.state.step, self.config)

    def _begin_step(self) -> None:
        step = self.state.step
        rate = learning_rate(step, self.config)
        for optimizer in (self.optimizer, self.discriminator_optimizer):
            if optimizer is not None:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.zero_grad(set_to_none=True)
        self.generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        torch.manual_seed(self.config.seed * 1_000_003 + step)
        if self.config.sequential:
            select_trainable(self.model, self.phase.name)
        self._step_start = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note the time since the last lap under a name."""
        if self.fabric.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self._clock[name] = self._clock.get(name, 0.0) + now - self._step_start
        self._step_start = now

    def predict(self, names: list[str], scan: TrainingScan) -> tuple[ModelOutput, TrainingScan]:
        """Run the generator; return its output and the truth that goes with it.

        In the `recon` phase the reconstruction alone, with `patch` a patch of both.
        """
        config, x0 = self.config, None
        with self.fabric.autocast():
            if self.phase.name == "recon" and hasattr(self.model, "recon"):
                recon, _ = split_parts(self.model)
                low = recon(scan.kspace, scan.sense.at_low_resolution(), scan.noise_std)
                output = ModelOutput(low, low)
            else:
                if config.warm_start:
                    x0, n_iter = self.points.start(names, scan)
                    set_iterations(self.model, n_iter)
                arguments = (scan.kspace, scan.sense, scan.noise_std)
                if config.patch:
                    output, scan, points = patch_output(
                        self.model, scan, config, self.generator, x0=x0
                    )
                else:
                    output = self.model(*arguments) if x0 is None else self.model(*arguments, x0=x0)
                    points = output.low_resolution
                if config.warm_start:
                    self.points.keep(names, points)
        self.lap("forward")
        self._clock |= {k: v for k, v in output.seconds.items() if k not in self._clock}
        return output, scan

    def update(self, loss: Tensor, module: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
        """Backward, average over processes, clip, step; return whether the gradient was finite.

        A gradient that is not finite leaves weights and moments as they were.
        """
        self.lap("losses")
        loss.backward()
        average_gradients(self.fabric, module.parameters())
        limit = self.config.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(module.parameters(), limit)
        self.lap("backward")
        finite = bool(torch.isfinite(norm))
        if finite:
            optimizer.step()
        average_statistics(self.fabric, module)
        self.lap("optimizer")
        return finite

    def finish_step(self, terms: dict[str, Tensor], output: ModelOutput, finite: bool) -> None:
        """Average the weights, count, log, validate and save.

        Raises
        ------
        TrainingDiverged
            `bad_steps` steps in a row without a finite gradient.
        """
        state, config = self.state, self.config
        if finite:
            warm = (1 + state.step) / (10 + state.step)
            update_average(self.average, self.model, min(config.ema, warm))
        state.step += 1
        state.bad = 0 if finite else state.bad + 1
        state.seconds += sum(self._clock[k] for k in ("data", "forward", "losses", "backward"))
        state.seconds += self._clock["optimizer"]
        self._count(terms, output)
        if state.bad >= config.bad_steps:
            self._give_up()
        if state.step % config.log_every == 0 or state.step == config.steps:
            self._log_row()
        if config.validate_every and state.step % config.validate_every == 0:
            self.validate()
        if time.monotonic() - self._last_save > 60 * config.checkpoint_minutes:
            self.save()

    def _count(self, terms: dict[str, Tensor], output: ModelOutput) -> None:
        values = {k: float(v.detach()) for k, v in terms.items()}
        values["loss"] = sum(v for k, v in values.items() if k != "discriminator")
        if output.residual is not None:
            residual = float(output.residual.max())
            values |= {"residual": residual, "iterations": float(output.iterations)}
            self.state.residual = running_residual(self.state.residual, residual)
        values |= {f"s_{k}": v for k, v in self._clock.items()}
        sums, counts = self.state.sums, self.state.counts
        for key, value in values.items():
            sums[key] = sums.get(key, 0.0) + value
            counts[key] = counts.get(key, 0) + 1

    def _log_row(self) -> None:
        state = self.state
        row = {k: v / state.counts[k] for k, v in state.sums.items()}
        last = state.step - 1
        row |= {"step": state.step, "seconds": round(state.seconds, 2)}
        row |= {"phase": phase_at(last, self.config).name, "rate": learning_rate(last, self.config)}
        alarm = state.residual > self.config.residual_alarm
        if alarm:
            row["alarm"] = f"running residual {state.residual:.3f}"
        state.sums, state.counts = {}, {}
        self._emit(row)
        if alarm and self.fabric.is_global_zero:
            sys.stderr.write(
                f"jrsr-train: step {state.step}: fixed points do not settle, running residual "
                f"{state.residual:.3f} is above {self.config.residual_alarm}\n"
            )

    def _emit(self, row: dict) -> None:
        if self.log is not None:
            self.log.write(row)
            if self.tell is not None:
                self.tell(row)

    def validate(self) -> None:
        """Judge the averaged weights on validation scans, in one process."""
        if self.fabric.is_global_zero:
            row, pictures = validate(
                self.average,
                self.config,
                self.folder,
                self.manifest,
                self.fabric.device,
                self.perceptual.loss if self.perceptual else None,
            )
            if row:
                self._emit({"step": self.state.step, **row})
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

    def close(self) -> nn.Module:
        """Save, end the log, return the averaged generator."""
        self.save()
        if self.log is not None:
            self.log.close()
        return self.average


def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights; running statistics are taken as they are."""
    with torch.no_grad():
        for a, p in zip(average.parameters(), model.parameters(), strict=True):
            a.lerp_(p, 1 - decay)
        for a, b in zip(average.buffers(), model.buffers(), strict=True):
            a.copy_(b)


def load_start(model: nn.Module, init: str) -> None:
    """Start from a weights card, or from the averaged weights of a run's folder.

    Raises
    ------
    CheckpointError
        Weights of another model.
    """
    path = Path(init)
    if path.is_dir():
        tensors = part(read_checkpoint(path)[0], "average")
    else:
        tensors = load_weights(path)[0].state_dict()
    load_matching(model, tensors, init)
