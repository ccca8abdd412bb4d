"""Weights of a card or of a run, and how a run starts from them."""

import hashlib
import json
from pathlib import Path

import torch
from torch import nn

from jrsr_core.models import build_model
from jrsr_core.models.rec import data_step_of
from jrsr_core.weights import WeightsCard, load_weights

from .checkpoint import NAME as CHECKPOINT
from .checkpoint import CheckpointError, RunState, load_matching, part, read_checkpoint
from .config import CONFIG, SOURCES, RunConfig
from .facts import told_data_step
from .grow import GrowthError, grow
from .parts import NAMES, split_parts


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


def load_starts(model: nn.Module, config: RunConfig) -> None:
    """Take over the weights that a recipe starts from."""
    if config.init:
        load_start(model, config.init)
    if config.grow_from:
        grow_start(model, config.grow_from)
    if config.recon_from:
        load_recon(model, config.recon_from)
