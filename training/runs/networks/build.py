"""The networks of a run with their optimizers, and what a checkpoint holds of them."""

import copy
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from jrsr_core.models.interfaces import JointModel
from jrsr_core.models.registry import build_model
from jrsr_core.weights.find import example_of_system
from training.config import RunConfig
from training.errors import UsageError, as_usage
from training.losses.discriminators import build_discriminator
from training.runs.checkpoint import (
    load_matching,
    load_optimizer,
    pack_module,
    pack_optimizer,
    part,
)

from .fixed_points import set_backward, set_iterations
from .generator import compile_networks, split_parts
from .initial_weights import load_start
from .patches import check_patches

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Learner(Generic[Network]):
    """A network, the optimizer that trains it, and their names in a checkpoint."""

    network: Network
    optimizer: torch.optim.Adam
    name: str
    optimizer_name: str
    _kept: list[Tensor] = field(default_factory=list, init=False)

    def note_buffers(self) -> None:
        """Note the buffers before a step: its forward pass changes running statistics."""
        self._kept[:] = [buffer.clone() for buffer in self.network.buffers()]

    @torch.no_grad()
    def keep_buffers(self, finite: Tensor) -> None:
        """Give the buffers their noted values back where the gradient was not finite.

        The device decides, so that a GPU is not waited for.
        """
        for buffer, kept in zip(self.network.buffers(), self._kept, strict=True):
            buffer.copy_(torch.where(finite, buffer, kept))

    def step(self, finite: Tensor) -> None:
        """Take a step, or none where the gradient was not finite.

        The fused Adam looks at `found_inf` where the gradients are, without waiting for them.
        """
        if self.optimizer.defaults["fused"]:
            vars(self.optimizer).update(grad_scale=None, found_inf=(~finite).float())
            self.optimizer.step()
        elif finite:
            self.optimizer.step()


@dataclass(frozen=True, eq=False)
class Networks:
    """The generator and its moving average, and the discriminator of an adversarial run."""

    generator: Learner[JointModel]
    average: JointModel
    discriminator: Learner | None = None

    @property
    def model(self) -> JointModel:
        """The model that is trained."""
        return self.generator.network

    @property
    def n_maps(self) -> int:
        """Number of coil map sets that the generator uses."""
        return self.model.n_maps

    def _learners(self) -> list[Learner]:
        return [x for x in (self.generator, self.discriminator) if x is not None]

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that training changes, by name."""
        tensors = pack_module("average", self.average)
        for learner in self._learners():
            tensors |= pack_module(learner.name, learner.network)
            tensors |= pack_optimizer(learner.optimizer_name, learner.optimizer)
        return tensors

    def restore(self, tensors: dict[str, Tensor], where: str) -> None:
        """Load what `tensors` returned; raises as `load_matching`."""
        load_matching(self.average, part(tensors, "average"), where)
        for learner in self._learners():
            load_matching(learner.network, part(tensors, learner.name), where)
            load_optimizer(learner.optimizer, part(tensors, learner.optimizer_name))

    def begin_step(self, rate: float) -> None:
        """Set the learning rate, clear the gradients, and note the running statistics."""
        for learner in self._learners():
            learner.note_buffers()
            for group in learner.optimizer.param_groups:
                group["lr"] = rate
            learner.optimizer.zero_grad(set_to_none=True)

    def keep_buffers(self, learner: Learner, finite: Tensor) -> None:
        """Keep running statistics as they were where the step of a learner was not finite.

        In the step of the generator the discriminator judges the same images.
        """
        for each in (learner,) if learner is self.discriminator else self._learners():
            each.keep_buffers(finite)

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Move the average towards the weights; running statistics are copied."""
        for a, p in zip(self.average.parameters(), self.model.parameters(), strict=True):
            a.lerp_(p, 1 - decay)
        for average, current in zip(self.average.buffers(), self.model.buffers(), strict=True):
            average.copy_(current)


def _check(model: JointModel, config: RunConfig) -> None:
    """Refuse a recipe that the model cannot follow; raises as `build_networks`."""
    warm_start = config.fixed_point.warm_start
    if not any(p.requires_grad for p in model.parameters()):
        raise UsageError(f"{config.model} has nothing to train (loop=tune chooses its numbers)")
    if warm_start and not model.takes_start:
        raise UsageError(
            f"fixed_point.warm_start is for models that state takes_start, {config.model} does "
            "not: fixed_point.warm_start=false"
        )
    if warm_start and config.n_processes > 1:
        raise UsageError(
            "fixed_point.warm_start keeps fixed points in one process: use machine.devices=1"
        )
    if config.phases.recon and not list(split_parts(model, config.model)[0].parameters()):
        raise UsageError(
            f"phases.recon is {config.phases.recon}, but the reconstruction of {config.model} "
            "has nothing to train"
        )
    check_patches(model, config)


def build_networks(config: RunConfig, device: torch.device, *, with_start: bool = True) -> Networks:
    """Build what a recipe trains, from its seed or from the weights of `start`.

    Without `with_start` those are not read: a checkpoint has everything, and they may be gone.

    Raises
    ------
    UsageError
        An unknown model, or one that does not fit the recipe.
    CheckpointError
        As `load_start`.
    """
    torch.manual_seed(config.seed)
    data_step = config.fixed_point.data_step or None
    with as_usage():
        model = build_model(
            config.model,
            preset=config.preset,
            data_step=data_step,
            refinement=config.refinement,
            refinement_blocks=config.refinement_blocks,
        )
    if not isinstance(model, JointModel):
        example = example_of_system(config.model, config.model)
        raise UsageError(f"model is {config.model}, a part: train a system, for instance {example}")
    _check(model, config)
    if with_start:
        load_start(model, config)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs
    model.to(device).train()
    set_backward(model, config.fixed_point.backward)
    set_iterations(model, config.fixed_point.max_iterations)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    generator = Learner(model, _adam(model, config), "model", "adam")
    discriminator = None
    if config.loop == "adversarial":
        kind = config.loss.discriminator
        built = build_discriminator(kind.network, config.preset, width=kind.width, norm=kind.norm)
        built.to(device).train()
        discriminator = Learner(built, _adam(built, config), "discriminator", "adam_d")
    if config.machine.compile:
        other = None if discriminator is None else discriminator.network
        compile_networks(model, other, config.machine.compile)
    return Networks(generator, average, discriminator)


def _adam(network: nn.Module, config: RunConfig) -> torch.optim.Adam:
    adam = config.optimizer
    betas = (adam.beta1, adam.beta2)
    parameters = list(network.parameters())
    fused = parameters[0].is_cuda
    return torch.optim.Adam(parameters, adam.learning_rate, betas, adam.eps, fused=fused or None)
