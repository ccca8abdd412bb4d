"""The networks of a run with their optimizers, and what a checkpoint holds of them."""

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from jrsr_core.models import build_model
from jrsr_core.models.rec import data_step_of
from jrsr_core.weights import WeightsCard, load_weights

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
)
from .config import CONFIG, SOURCES, RunConfig
from .discriminators import build_discriminator
from .facts import told_data_step
from .fixed_points import set_backward, set_iterations, takes_start
from .grow import GrowthError, grow
from .parts import NAMES, compile_networks, split_parts
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


def _load_starts(model: nn.Module, config: RunConfig) -> None:
    """Take over the weights that a recipe starts from."""
    if config.init:
        load_start(model, config.init)
    if config.grow_from:
        grow_start(model, config.grow_from)
    if config.recon_from:
        load_recon(model, config.recon_from)


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
        _load_starts(model, config)
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


def averaged_model(folder: Path) -> tuple[nn.Module, dict, RunState]:
    """Return the averaged network of a run, its configuration and its state.

    Raises
    ------
    ValueError
        Not the folder of a run, or weights that do not fit its recipe.
    """
    path = folder / CONFIG
    if not path.exists():
        raise ValueError(f"{folder}: no {CONFIG}, this is not a training folder")
    config = json.loads(path.read_text())
    tensors, state = read_checkpoint(folder)
    step = told_data_step(config)
    model = build_model(config["model"], preset=config["preset"], data_step=step)
    load_matching(model, part(tensors, "average"), str(folder))
    return model.eval(), config, state


def _model_of(source: str) -> nn.Module:
    """Return the model of a card, or the averaged one of a run's folder."""
    path = Path(source)
    return averaged_model(path)[0] if path.is_dir() else load_weights(path)[0]


def weights_sha256(source: str) -> str:
    """Return the hash of the weights of a card, or of the checkpoint of a run's folder."""
    path = Path(source)
    if not path.is_dir():
        return WeightsCard.read(path).sha256
    return hashlib.sha256((path / CHECKPOINT).read_bytes()).hexdigest()


def start_hashes(config: RunConfig) -> dict[str, str]:
    """Return the hashes of the weights that a recipe starts from."""
    sources = {key: getattr(config, key) for key in SOURCES}
    return {f"{key}_sha256": weights_sha256(source) for key, source in sources.items() if source}


def _check_data_step(source: str, found: nn.Module, model: nn.Module) -> None:
    """Refuse weights whose tensors fit, but mean another iteration."""
    data_step, own = data_step_of(found), data_step_of(model)
    if data_step and own and data_step != own:
        raise CheckpointError(f"{source}: data_step is {data_step}, the recipe's model has {own}")


@torch.no_grad()
def keep_start(model: nn.Module, config: dict, share: float) -> None:
    """Turn weights w of a run into (1 - share) w + share w_0, w_0 those of its `init`.

    After fine-tuning the mean of both is often better than either, away from the new data above all
    (Wortsman et al., CVPR 2022).

    Raises
    ------
    ValueError
        A share that is none, a run without `init`, or one whose `init` is not what it was.
    """
    if not 0 <= share < 1:
        raise ValueError(f"start_share is {share:g}, a share is at least 0 and below 1")
    source = config.get("init")
    if not source:
        raise ValueError("start_share needs a run that started from weights (init=CARD)")
    found = weights_sha256(source)
    if found != config["init_sha256"]:
        raise ValueError(f"{source}: sha256 is {found[:12]}, was {config['init_sha256'][:12]}")
    pairs = zip(model.parameters(), _model_of(source).parameters(), strict=True)
    for own, before in pairs:
        own.lerp_(before, share)


def load_start(model: nn.Module, source: str) -> None:
    """Start from a weights card, or from the averaged weights of a run's folder.

    Raises
    ------
    CheckpointError
        Weights of another model, or of another way of Rec to its equilibrium.
    """
    found = _model_of(source)
    _check_data_step(source, found, model)
    load_matching(model, found.state_dict(), source)


def grow_start(model: nn.Module, source: str) -> None:
    """Start as a smaller network of the same kind, a card or a run's folder; see `grow`.

    Raises
    ------
    CheckpointError
        Weights that the model cannot begin with.
    """
    found = _model_of(source)
    _check_data_step(source, found, model)
    try:
        grow(model, found)
    except GrowthError as error:
        raise CheckpointError(f"{source}: {error}") from None


def load_recon(model: nn.Module, source: str) -> None:
    """Take the reconstruction of another system, or one that has weights of its own.

    Raises
    ------
    CheckpointError
        Weights of another reconstruction.
    """
    found = _model_of(source)
    _check_data_step(source, found, model)
    tensors = found.state_dict()
    whole = next((part(tensors, name) for name, _ in NAMES if part(tensors, name)), tensors)
    load_matching(split_parts(model)[0], whole, source)
