"""Seconds and figures of the steps since the last row of the log."""

import time

import torch
from torch import Tensor

from jrsr_core.models.interfaces import ModelOutput

from .checkpoint import RunState
from .config import RunConfig
from .fixed_points import running_residual
from .schedule import learning_rate, phase_at

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
