"""The supervised loop: one prepared scan per step, read from top to bottom.

    loss = mean |x - x_GT| + gamma_Rec mean |x_rec - x_GT_LR|        (paper, eqs. 7 and 9, L1)

A scan is visited many times. Its fixed point is kept and advanced by a few Anderson steps at
every visit instead of being sought from scratch, then differentiated Jacobian-free: the
equilibrium follows the weights at a fraction of the cost. So a few hundred scans visited ten times
serve better than thousands visited once, whose points would never be near equilibrium. All is
whole images, so data consistency on the HR grid can stand inside the loss.
"""

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from jrsr_core.models import build_model
from jrsr_core.models.fixed_point import FixedPointSettings

from .prepare import TrainingScan, load_scan, unpack_scan

FIRST_VISIT = FixedPointSettings("anderson", n_iter=12, tolerance=1e-3)
LATER_VISITS = FixedPointSettings("anderson", n_iter=5, tolerance=1e-3)


@dataclass(frozen=True)
class RunConfig:
    """One training run; every field stands in the log and in the weights card."""

    model: str
    preset: str
    scans: str
    out: str
    n_steps: int
    learning_rate: float = 4e-4
    warmup_steps: int = 100
    gamma_rec: float = 1.0
    clip_norm: float = 1.0
    ema: float = 0.998
    seed: int = 0
    checkpoint_minutes: float = 5.0
    n_threads: int = 2


@dataclass
class RunState:
    """All that changes during a run, and so all that a checkpoint holds besides the weights."""

    step: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    residual: float = math.nan


def learning_rate(step: int, config: RunConfig) -> float:
    """Linear warm-up, then half a cosine down to 2 % of the peak."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(config.n_steps - config.warmup_steps, 1)
    return config.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def scan_loss(output, scan: TrainingScan, gamma_rec: float) -> tuple[Tensor, Tensor]:
    """L1 on the HR image and on the LR reconstruction; magnitude models on the magnitude."""
    target = scan.target if output.image.is_complex() else scan.target.abs()
    image_loss = (output.image - target).abs().mean()
    rec_loss = (output.low_resolution - scan.lr_target).abs().mean()
    return image_loss + gamma_rec * rec_loss, rec_loss.detach()


class FixedPoints:
    """The last fixed point of every scan, complex64 on the LR grid."""

    def __init__(self) -> None:
        self._points: dict[str, Tensor] = {}

    def start(self, name: str) -> tuple[Tensor | None, FixedPointSettings]:
        """Return where to start and how far to go."""
        point = self._points.get(name)
        return point, FIRST_VISIT if point is None else LATER_VISITS

    def keep(self, name: str, point: Tensor) -> None:
        """Remember a fixed point, unless it diverged."""
        if bool(torch.isfinite(torch.view_as_real(point)).all()) and point.abs().max() < 10:
            self._points[name] = point.detach()
        else:
            self._points.pop(name, None)


def train_step(
    model: nn.Module, scan: TrainingScan, name: str, points: FixedPoints, config: RunConfig
) -> dict[str, float]:
    """Forward, loss, backward of one scan; the optimizer steps elsewhere."""
    x0, settings = points.start(name)
    output = model(scan.kspace, scan.sense, scan.noise_std, x0=x0, settings=settings)
    loss, rec_loss = scan_loss(output, scan, config.gamma_rec)
    loss.backward()
    points.keep(name, output.low_resolution)
    return {
        "loss": float(loss.detach()),
        "rec_loss": float(rec_loss),
        "residual": float(output.residual.max()),
    }


def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of all weights."""
    with torch.no_grad():
        for a, p in zip(average.parameters(), model.parameters(), strict=True):
            a.lerp_(p, 1 - decay)


def save_checkpoint(folder: Path, model, average, optimizer, state: RunState) -> None:
    """Weights, average, Adam moments and counters; the previous checkpoint lives until then."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{k}": v for k, v in slots.items()}
    partial = folder / "checkpoint.partial"
    save_file(
        {k: v.contiguous().clone() for k, v in tensors.items()},
        partial,
        metadata={"state": json.dumps(asdict(state))},
    )
    partial.replace(folder / "checkpoint.safetensors")


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], RunState]:
    """Return the tensors and the state of a checkpoint; ValueError if there is none."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        raise ValueError(f"{folder}: no checkpoint.safetensors")
    with safe_open(path, "pt") as file:
        return load_file(path), RunState(**json.loads(file.metadata()["state"]))


def load_checkpoint(folder: Path, model, average, optimizer) -> RunState:
    """Continue from `save_checkpoint`, or from nothing."""
    if not (folder / "checkpoint.safetensors").exists():
        return RunState()
    tensors, state = read_checkpoint(folder)

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    model.load_state_dict(part("model."))
    average.load_state_dict(part("average."))
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in part("adam.").items():
        index, name = key.split(".")
        slots.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    return state


def setup(config: RunConfig) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer, RunState]:
    """Model, its average, optimizer and state; resumed if the folder holds a checkpoint."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.n_threads)
    model = build_model(config.model, preset=config.preset)
    model = model.to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=1))
    return model, average, optimizer, load_checkpoint(folder, model, average, optimizer)


def fit(
    config: RunConfig, *, log_every: int = 50, tell: Callable[[dict], None] | None = None
) -> nn.Module:
    """Train to `n_steps` and return the averaged model; `tell` hears every row of the log."""
    model, average, optimizer, state = setup(config)
    paths = sorted(Path(config.scans).glob("scan_*.safetensors"))
    if not paths:
        raise ValueError(f"{config.scans}: no prepared scans (scan_*.safetensors)")
    points, sums, last_save = FixedPoints(), {}, time.monotonic()
    folder = Path(config.out)
    while state.step < config.n_steps:
        epoch, position = divmod(state.step, len(paths))
        order = torch.randperm(
            len(paths), generator=torch.Generator().manual_seed(config.seed + epoch)
        )
        path = paths[int(order[position])]
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(state.step, config)
        optimizer.zero_grad(set_to_none=True)
        values = train_step(model, unpack_scan(load_scan(path)), path.name, points, config)
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        if math.isfinite(values["loss"]) and bool(torch.isfinite(norm)):
            optimizer.step()
            warm = min(config.ema, (1 + state.step) / (10 + state.step))
            update_average(average, model, warm)
        state.step += 1
        state.seconds += time.perf_counter() - start
        for key, value in values.items():
            sums[key] = sums.get(key, 0.0) + value / log_every
        if state.step % log_every == 0:
            state.loss, state.residual = sums["loss"], sums["residual"]
            row = {"step": state.step, "seconds": round(state.seconds, 1), **sums}
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            if tell is not None:
                tell(row)
            sums = {}
        if time.monotonic() - last_save > 60 * config.checkpoint_minutes:
            save_checkpoint(folder, model, average, optimizer, state)
            last_save = time.monotonic()
    save_checkpoint(folder, model, average, optimizer, state)
    return average
