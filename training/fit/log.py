"""The log of a run: one JSON line per row, and the same numbers and pictures for TensorBoard."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jrsr_core.models.interfaces import ModelOutput
from training.config import RunConfig

from .checkpoint import RunState
from .fixed_points import running_residual
from .schedule import learning_rate, phase_at

NAME = "log.jsonl"


class RunLog:
    """Writes rows of one process; rows beyond `step`, of a run that was killed, are dropped.

    `tell` hears every row; alarms go to stderr as well.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        *,
        tensorboard: bool,
        tell: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._tell = tell
        self.path = folder / NAME
        kept = [r for r in read_log(folder) if r["step"] <= step]
        if kept or self.path.exists():
            self.path.write_text("".join(json.dumps(r) + "\n" for r in kept))
        self._board = _board(folder, step) if tensorboard else None

    def write(self, row: dict[str, Any]) -> None:
        """Append a row; it has a `step`."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for key, value in row.items():
                if key != "step" and isinstance(value, (int, float)):
                    self._board.add_scalar(key, value, row["step"])
        if self._tell is not None:
            self._tell(row)
        if "alarm" in row:
            sys.stderr.write(f"jrsr-train: step {row['step']}: {row['alarm']}\n")

    def picture(self, name: str, image: Tensor, step: int) -> None:
        """Show a magnitude ``(y, x)`` in [0, 1]."""
        if self._board is not None:
            self._board.add_image(name, image[None].clamp(0, 1).cpu().numpy(), step)

    def close(self) -> None:
        """Finish writing."""
        if self._board is not None:
            self._board.close()


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        sys.stderr.write("jrsr-train: tensorboard is not installed, the log is log.jsonl alone\n")
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's log; a last line cut off by a kill is left out."""
    rows: list[dict[str, Any]] = []
    if not (folder / NAME).exists():
        return rows
    for line in (folder / NAME).read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


# FOLDED training/meter.py: Seconds and figures of the steps since the last row of the log.
WHOLE = ("data", "forward", "losses", "backward", "optimizer")
"""Laps that make up a step; `rec`, `sr` and `consistency` are parts of `forward`."""


class Meter:
    """Laps of the current step; sums over steps live in the state, so that a kill loses none."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def start(self) -> None:
        """Begin a new step."""
        self.laps, self._last = {}, time.perf_counter()

    def lap(self, name: str) -> None:
        """Note the time since the last lap under a name; on a GPU wait for the work in flight."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self._last
        self._last = now

    def count(self, state: RunState, terms: dict[str, Tensor], output: ModelOutput) -> None:
        """Add the losses, the fixed point and the laps of a step to the sums of `state`."""
        values = {k: float(v.detach()) for k, v in terms.items()}
        values["loss"] = sum(v for k, v in values.items() if k != "discriminator")
        if output.residual is not None:
            residual = float(output.residual.max())
            values |= {"residual": residual, "iterations": float(output.iterations)}
            state.residual = running_residual(state.residual, residual)
        values |= {f"s_{k}": v for k, v in (output.seconds | self.laps).items()}
        for key, value in values.items():
            state.sums[key] = state.sums.get(key, 0.0) + value
            state.counts[key] = state.counts.get(key, 0) + 1
        state.seconds += sum(self.laps.get(name, 0.0) for name in WHOLE)


def take_means(state: RunState) -> dict[str, float]:
    """Return the means since the last call, and start anew."""
    means = {k: v / state.counts[k] for k, v in state.sums.items()}
    state.sums, state.counts = {}, {}
    return means


def make_row(state: RunState, config: RunConfig) -> dict:
    """Return the means since the last call as a row of the log, with an alarm if there is one."""
    last = state.step - 1
    row = take_means(state) | {"step": state.step, "seconds": round(state.seconds, 2)}
    row |= {"phase": phase_at(last, config).name, "rate": learning_rate(last, config)}
    if state.residual > config.residual_alarm:
        row["alarm"] = (
            f"fixed points do not settle, running residual {state.residual:.3f} is above "
            f"{config.residual_alarm}"
        )
    return row
