"""Checkpoints: everything that changes during a run, in one safetensors file.

The new file takes its name only when it is complete on disk; where that fails (disk full) the
previous one stays. Nothing is pickled.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from jrsr_core.common.atomic import write_bytes
from jrsr_core.common.os_errors import reason

NAME = "checkpoint.safetensors"


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, written or used; the message is one line."""


@dataclass
class RunState:
    """Counters of a run: with the tensors, all that is needed to continue it.

    Attributes
    ----------
    step, seconds, elapsed
        Steps done, the time they took, and that of everything: data, validation, checkpoints.
    bad
        Steps in a row, up to the last one, without a finite gradient.
    residual
        Running mean of the residual of the fixed points.
    sums, counts
        Sums of the figures of the steps since the last row of the log, and how many.
    """

    step: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0
    bad: int = 0
    residual: float = math.nan
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def pack_module(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers as "prefix.name"."""
    return {f"{prefix}.{k}": v for k, v in module.state_dict().items()}


def pack_optimizer(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the moments of Adam as "prefix.parameter.name"."""
    tensors: dict[str, Tensor] = {}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"{prefix}.{index}.{k}": v for k, v in slots.items()}
    return tensors


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under a prefix, without it."""
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore the moments of Adam from what `pack_optimizer` returned, without its prefix."""
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".")
        slots.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})


def load_matching(module: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Load weights into a module.

    Raises
    ------
    CheckpointError
        A tensor is missing, left over, or of another shape; it is named with both shapes.
    """
    wanted = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    found = {k: tuple(v.shape) for k, v in tensors.items()}
    if wanted != found:
        key = next(k for k in sorted(wanted | found) if wanted.get(k) != found.get(k))
        raise CheckpointError(
            f"{where}: {key} is {found.get(key)}, the recipe's model has {wanted.get(key)}"
        )
    module.load_state_dict(tensors)


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], state: RunState) -> None:
    """Replace the checkpoint of a run.

    Raises
    ------
    CheckpointError
        It could not be written; the previous one is still there.
    """
    path = folder / NAME
    content = save(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
        metadata={"state": json.dumps(asdict(state))},
    )
    try:
        write_bytes(path, content, overwrite=True, sync=True)
    except OSError as error:
        kept = "the previous checkpoint is kept" if path.exists() else "there is none yet"
        raise CheckpointError(
            f"{path}: {len(content)} bytes not written ({reason(error)}), {kept}"
        ) from error


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], RunState]:
    """Return the tensors and the state of a checkpoint.

    Raises
    ------
    CheckpointError
        There is none, or it is damaged.
    """
    path = folder / NAME
    if not path.exists():
        raise CheckpointError(f"{folder}: no {NAME}")
    try:
        with safe_open(path, "pt") as file:
            state = RunState(**json.loads(file.metadata()["state"]))
        return load_file(path), state
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of ours, or cut off ({error})") from error
