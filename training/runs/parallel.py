"""Fabric: where a run computes, and how several processes work as one.

Every process takes its share of a batch; gradients are averaged in one all-reduce of a flat buffer
before they are clipped. That is what DistributedDataParallel computes, without its assumption of
one forward per backward, which holds neither for a fixed point nor for a discriminator, which is
given two batches. Running statistics of normalisation layers are averaged as well, so that all
processes stay equal.
"""

import atexit
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from training.config import RunConfig
from training.errors import UsageError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(config: RunConfig) -> "Fabric":
    """Return the launched Fabric of a run; it recognises the processes of torchrun and others.

    Raises
    ------
    ValueError
        Lightning Fabric is not installed, or the device is not there.
    """
    try:
        from lightning_fabric import Fabric  # an optional dependency
    except ImportError as error:
        raise UsageError("training needs Lightning Fabric: install the extra 'training'") from error
    kind, _, number = config.device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
        raise UsageError(f"device is {config.device!r}, known: auto, cpu, cuda, cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device is {config.device}, but there is no CUDA device")
    fabric = Fabric(
        accelerator=kind,
        devices=[int(number)] if number else config.machine.devices,
        num_nodes=config.machine.nodes,
        strategy="ddp" if config.n_processes > 1 else "auto",
        precision="32-true" if config.machine.precision == "32" else config.machine.precision,
    )
    fabric.launch()
    if fabric.world_size > 1:
        # Its threads have to end before the interpreter does; Lightning does that for NCCL alone.
        atexit.register(_leave_group)
    return fabric


def _leave_group() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@torch.no_grad()
def _average(fabric: "Fabric", tensors: list[Tensor]) -> None:
    if not tensors:
        return
    flat = torch.cat([t.flatten() for t in tensors])
    mean = fabric.all_reduce(flat, reduce_op="mean")
    if not isinstance(mean, Tensor):
        raise TypeError(f"Fabric reduced a tensor to {type(mean).__name__}")
    for tensor, part in zip(tensors, mean.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def average_gradients(fabric: "Fabric", parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes."""
    if fabric.world_size > 1:
        _average(fabric, [p.grad for p in parameters if p.grad is not None])


def average_statistics(fabric: "Fabric", module: nn.Module) -> None:
    """Replace floating-point buffers (running statistics) by their mean over the processes."""
    if fabric.world_size > 1:
        _average(fabric, [b for b in module.buffers() if b.is_floating_point()])


def reduce_numbers(fabric: "Fabric", numbers: list[float], how: str) -> list[float]:
    """Return in every process the "mean" or the "max" of each number over the processes."""
    if fabric.world_size == 1 or not numbers:
        return numbers
    # float64, so that sums of many steps keep their digits.
    flat = torch.tensor(numbers, dtype=torch.float64, device=fabric.device)
    reduced = fabric.all_reduce(flat, reduce_op=how)
    if not isinstance(reduced, Tensor):
        raise TypeError(f"Fabric reduced a tensor to {type(reduced).__name__}")
    return reduced.tolist()


def any_process(fabric: "Fabric", here: bool) -> bool:
    """Return in every process whether `here` is true in at least one of them."""
    if fabric.world_size == 1:
        return here
    return bool(fabric.all_reduce(torch.tensor(float(here), device=fabric.device), reduce_op="sum"))


def from_first(fabric: "Fabric", value: float) -> float:
    """Return in every process the value of the first one, whose clock all follow."""
    return value if fabric.world_size == 1 else float(fabric.broadcast(value, src=0))
