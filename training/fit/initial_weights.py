"""Weights of a card or of a run, and how a run starts from them."""

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from jrsr_core.models import build_model
from jrsr_core.models.layers import RESIDUAL_SCALE, RRDB, ResidualDenseBlock, zero_init
from jrsr_core.models.rec import ProximalNetwork, data_step_of
from jrsr_core.models.sr import SrModule
from jrsr_core.weights import WeightsCard, load_weights
from training.config import CONFIG, SOURCES, RunConfig

from .checkpoint import (
    NAME as CHECKPOINT,
)
from .checkpoint import (
    CheckpointError,
    RunState,
    load_matching,
    part,
    read_checkpoint,
)
from .parts import NAMES, split_parts
from .provenance import told_data_step


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


# FOLDED training/grow.py: A larger network that begins as a smaller one of its kind.
Groups = list[tuple[int, int]]
"""Channels that lie side by side at an input: how many of the small network, how many now."""


class GrowthError(ValueError):
    """A network that cannot begin as the other."""


def _grow_conv(conv: nn.Conv2d, small: nn.Conv2d, groups: Groups, name: str) -> None:
    n_out, n_in = small.weight.shape[:2]
    if conv.kernel_size != small.kernel_size or conv.out_channels < n_out:
        raise GrowthError(f"{name} is {tuple(conv.weight.shape)}, was {tuple(small.weight.shape)}")
    if sum(was for was, _ in groups) != n_in or any(now < was for was, now in groups):
        raise GrowthError(f"{name} has {conv.in_channels} inputs, had {n_in}")
    conv.weight[:n_out] = 0
    if conv.bias is not None:
        conv.bias[:n_out] = small.bias
    here = before = 0
    for was, now in groups:
        conv.weight[:n_out, here : here + was] = small.weight[:, before : before + was]
        here, before = here + now, before + was


def _grow_dense(block: ResidualDenseBlock, small: ResidualDenseBlock, name: str) -> None:
    features = (small.fuse.out_channels, block.fuse.out_channels)
    growth = (small.convs[0].out_channels, block.convs[0].out_channels)
    for i, (conv, old) in enumerate(zip(block.convs, small.convs, strict=True)):
        _grow_conv(conv, old, [features] + i * [growth], f"{name}.convs.{i}")
    _grow_conv(block.fuse, small.fuse, [features] + 4 * [growth], f"{name}.fuse")
    if block.skip is not None and small.skip is not None:
        _grow_conv(block.skip, small.skip, [features], f"{name}.skip")
    elif block.skip is not small.skip:
        raise GrowthError(f"{name}: only one of both has the extra skips")


def _silence(block: RRDB) -> None:
    """Let an RRDB multiply by 1 + 0.2, nothing else, until it learns."""
    for dense in block.dense:
        zero_init(dense.fuse)
    for sft in block.sft:
        zero_init(sft.scale[-1])
        zero_init(sft.shift[-1])


def _deepen(sr: SrModule, n_blocks: int) -> None:
    """Silence the blocks behind the first `n_blocks`, and let the next convolution undo 1.2^n."""
    for block in sr.trunk[n_blocks:]:
        _silence(block)
    sr.conv_trunk.weight /= (1 + RESIDUAL_SCALE) ** (len(sr.trunk) - n_blocks)


def _copy(parameter: Tensor, small: Tensor, name: str) -> None:
    if parameter.shape != small.shape:
        shapes = f"{tuple(parameter.shape)}, was {tuple(small.shape)}"
        raise GrowthError(f"{name} is {shapes}; only convolutions can be widened")
    parameter.copy_(small)


def _check_grid(prox: ProximalNetwork, small: ProximalNetwork, name: str) -> None:
    if prox.unshuffle != small.unshuffle:
        raise GrowthError(f"{name}: unshuffle is {prox.unshuffle}, was {small.unshuffle}")


def _grow(module: nn.Module, small: nn.Module, name: str) -> None:
    if type(module) is not type(small):
        raise GrowthError(f"{name or 'it'} is {type(module).__name__}, was {type(small).__name__}")
    if isinstance(module, ProximalNetwork):
        _check_grid(module, small, name)
    if isinstance(module, nn.Conv2d):
        _grow_conv(module, small, [(small.in_channels, module.in_channels)], name)
        return
    if isinstance(module, ResidualDenseBlock):
        _grow_dense(module, small, name)
        return
    for key, tensor in small._parameters.items():
        if tensor is not None:
            _copy(module._parameters[key], tensor, f"{name}.{key}".lstrip("."))
    children = dict(module.named_children())
    for key, child in small.named_children():
        if key not in children:
            raise GrowthError(f"{name}.{key} is missing")
        _grow(children.pop(key), child, f"{name}.{key}".lstrip("."))
    if isinstance(module, SrModule):
        _deepen(module, len(small.trunk))
    elif children and not (isinstance(module, nn.ModuleList) and name.endswith("trunk")):
        raise GrowthError(f"{name}.{next(iter(children))} is new; only an SR trunk can be deepened")


@torch.no_grad()
def grow(model: nn.Module, small: nn.Module) -> None:
    """Give `model` the weights of `small`, a network of the same kind, narrower and shallower.

    For what is made of RRDBs: Rec and SR modules, alone or together.

    Raises
    ------
    GrowthError
        A network of another kind, one that is wider or deeper somewhere, or other parts.
    """
    _grow(model, small, "")
