"""The networks of a run with their optimizers, and what a checkpoint holds of them."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jrsr_core.models import build_model
from training.config import RunConfig
from training.losses.discriminators import build_discriminator

from .checkpoint import load_matching, load_optimizer, pack_module, pack_optimizer, part
from .fixed_points import set_backward, set_iterations, takes_start
from .initial_weights import load_starts
from .parts import compile_networks, split_parts
from .patches import check_patches


@dataclass(eq=False)
class Networks:
    """Generator, its moving average, the discriminator or None, and Adam of each."""

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Adam
    discriminator: nn.Module | None = None
    discriminator_optimizer: torch.optim.Adam | None = None

    @property
    def n_maps(self) -> int:
        """Coil map sets that the generator makes use of."""
        return getattr(self.model, "n_maps", 1)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that training changes, by name."""
        tensors = pack_module("model", self.model) | pack_module("average", self.average)
        tensors |= pack_optimizer("adam", self.optimizer)
        if self.discriminator is not None:
            tensors |= pack_module("discriminator", self.discriminator)
            tensors |= pack_optimizer("adam_d", self.discriminator_optimizer)
        return tensors

    def restore(self, tensors: dict[str, Tensor], where: str) -> None:
        """Take over what `tensors` returned; errors as `load_matching`."""
        load_matching(self.model, part(tensors, "model"), where)
        load_matching(self.average, part(tensors, "average"), where)
        load_optimizer(self.optimizer, part(tensors, "adam"))
        if self.discriminator is not None:
            load_matching(self.discriminator, part(tensors, "discriminator"), where)
            load_optimizer(self.discriminator_optimizer, part(tensors, "adam_d"))

    def begin_step(self, rate: float) -> None:
        """Set the learning rate and forget the gradients."""
        for optimizer in (self.optimizer, self.discriminator_optimizer):
            if optimizer is not None:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Move the average towards the weights; running statistics are taken as they are."""
        for a, p in zip(self.average.parameters(), self.model.parameters(), strict=True):
            a.lerp_(p, 1 - decay)
        for a, b in zip(self.average.buffers(), self.model.buffers(), strict=True):
            a.copy_(b)


def _check(model: nn.Module, config: RunConfig) -> None:
    """Refuse a recipe that the model cannot follow; errors as `build_networks`."""
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"{config.model} has nothing to train (loop=tune chooses its numbers)")
    if config.warm_start and not takes_start(model):
        raise ValueError(f"warm_start is for models with a fixed point, not {config.model}")
    if config.warm_start and config.devices * config.nodes > 1:
        raise ValueError("warm_start keeps fixed points in one process: use devices=1")
    if config.sequential and not list(split_parts(model)[0].parameters()):
        raise ValueError(f"sequential is {config.sequential}, but the reconstruction is fixed")
    check_patches(model, config)


def build_networks(config: RunConfig, device: torch.device, *, with_start: bool = True) -> Networks:
    """Build what a recipe trains, from its seed or from the weights of `init`.

    Without `with_start` those are left alone: a checkpoint has everything, and they may be gone.

    Raises
    ------
    ValueError
        An unknown model, one that does not fit the recipe, weights of another model.
    """
    torch.manual_seed(config.seed)
    model = build_model(config.model, preset=config.preset, data_step=config.data_step or None)
    _check(model, config)
    if with_start:
        load_starts(model, config)
    model = model.to(device, memory_format=torch.channels_last).train()
    set_backward(model, config)
    set_iterations(model, config.max_iterations)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    networks = Networks(model, average, _adam(model, config))
    if config.loop == "adversarial":
        width, norm = config.discriminator_width, config.discriminator_norm
        built = build_discriminator(config.discriminator, config.preset, width=width, norm=norm)
        networks.discriminator = built.to(device).train()
        networks.discriminator_optimizer = _adam(networks.discriminator, config)
    if config.compile:
        compile_networks(model, networks.discriminator, config.compile)
    return networks


def _adam(module: nn.Module, config: RunConfig) -> torch.optim.Adam:
    betas = (config.adam_beta1, config.adam_beta2)
    rate, eps = config.learning_rate, config.adam_eps
    return torch.optim.Adam(module.parameters(), lr=rate, betas=betas, eps=eps)
