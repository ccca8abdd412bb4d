"""Losses, residuals and seconds of steps, read from the device once per row of the log.

Reading a number waits until the GPU has computed it, and everything before it. The numbers of a
step therefore stay tensors until they are needed, and then come in one transfer.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jrsr_core.models.interfaces import ModelOutput

from .checkpoint import RunState
from .networks.fixed_points import running_residual
from .parallel import reduce_numbers

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PARTS = ("data", "forward", "losses", "backward", "optimizer")
"""Laps that make up a step; `rec`, `sr` and `consistency` are parts of `forward`."""


OF_WORST = ("residual", "iterations")
"""Figures of a batch that are those of its slowest scan; all others are means over its scans."""


@dataclass(frozen=True, eq=False)
class _Step:
    """Names of the tensors of one step, and its other numbers."""

    names: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    iterations: int | None
    laps: dict[str, float]


class StepFigures:
    """Figures of the steps since they were last read."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    def add(
        self,
        terms: dict[str, Tensor],
        output: ModelOutput,
        finite: Tensor,
        laps: dict[str, float],
    ) -> None:
        """Note the losses, the fixed point and the seconds of a step."""
        tensors = {k: v.detach() for k, v in terms.items()} | {"finite": finite}
        iterations = None
        if output.residual is not None:
            tensors["residual"] = output.residual.detach().max()
            iterations = output.iterations
        seconds = {f"s_{k}": v for k, v in (output.seconds | laps).items()}
        self._steps.append(_Step(tuple(tensors), tuple(tensors.values()), iterations, seconds))

    def read(self, state: RunState) -> None:
        """Add the noted steps to the sums of `state`, and forget them."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        flat = [t.double() for step in steps for t in step.tensors]
        numbers = iter(torch.stack(flat).tolist())
        for step in steps:
            _add(state, step, {name: next(numbers) for name in step.names})


def of_whole_batches(fabric: "Fabric", state: RunState) -> None:
    """Replace the figures of the share of this process by those of all shares, in every process."""
    for how, is_of_worst in (("mean", False), ("max", True)):
        names = sorted(name for name in state.sums if (name in OF_WORST) == is_of_worst)
        sums = reduce_numbers(fabric, [state.sums[name] for name in names], how)
        state.sums |= dict(zip(names, sums, strict=True))
    (state.residual,) = reduce_numbers(fabric, [state.residual], "max")


def _add(state: RunState, step: _Step, values: dict[str, float]) -> None:
    state.bad = 0 if values.pop("finite") else state.bad + 1
    residual = values.pop("residual", None)
    values["loss"] = sum(v for k, v in values.items() if k != "discriminator")
    if residual is not None and step.iterations is not None:
        values |= {"residual": residual, "iterations": float(step.iterations)}
        state.residual = running_residual(state.residual, residual)
    values |= step.laps
    for key, value in values.items():
        state.sums[key] = state.sums.get(key, 0.0) + value
        state.counts[key] = state.counts.get(key, 0) + 1
    state.seconds += sum(step.laps.get(f"s_{name}", 0.0) for name in PARTS)
