"""The weights a run starts from: those of a weights card, or the averaged ones of another run."""

import copy
import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from jrsr_core.models.interfaces import JointModel
from jrsr_core.models.jrsr import JrsrDc
from jrsr_core.models.names import MODEL_NAMES
from jrsr_core.models.rec import data_step_of
from jrsr_core.models.registry import build_model
from jrsr_core.weights.card import WeightsCard
from jrsr_core.weights.find import find_system
from jrsr_core.weights.load import load_weights
from jrsr_core.weights.sets import split_set
from training.config import RunConfig
from training.errors import UsageError
from training.runs.checkpoint import NAME as CHECKPOINT
from training.runs.checkpoint import CheckpointError, RunState, load_matching, part, read_checkpoint
from training.runs.record import read_record, recorded_data_step

from .generator import split_parts
from .growth import GrowthError, grow

SOURCES = ("init", "grow_from", "recon_from")
"""Keys of the group `start`."""


def averaged_model(folder: Path) -> tuple[nn.Module, dict[str, Any], RunState]:
    """Return the averaged network of a run, the record of the run and its state.

    Raises
    ------
    ValueError
        Not the folder of a run, or weights that do not fit its record.
    """
    record = read_record(folder)
    tensors, state = read_checkpoint(folder)
    data_step = recorded_data_step(record)
    model = build_model(
        record["model"],
        preset=record["preset"],
        data_step=data_step,
        refinement=record.get("refinement", False),
        refinement_blocks=record.get("refinement_blocks", 0),
    )
    load_matching(model, part(tensors, "average"), str(folder))
    return model.eval(), record, state


def source_path(source: str) -> Path:
    """Return the weights card or the folder of a run: as a path, or a card by NAME or NAME@SET.

    Raises
    ------
    ValueError
        A name without shipped weights, or of a system whose parts have a card each.
    """
    path = Path(source)
    if path.exists() or ".json" in source or split_set(source)[0] not in MODEL_NAMES:
        return path
    parts = find_system(source)
    if len(parts) != 1 or not isinstance(parts[0], Path):
        raise CheckpointError(f"{source}: has no weights card of its own")
    return parts[0]


def weights_sha256(source: str) -> str:
    """Return the hash of the weights of a card, or of the checkpoint of a run's folder."""
    path = source_path(source)
    if not path.is_dir():
        return WeightsCard.read(path).sha256
    return hashlib.sha256((path / CHECKPOINT).read_bytes()).hexdigest()


def start_facts(config: RunConfig) -> dict[str, str]:
    """Return the hashes of the weights that a recipe starts from, for the record."""
    return {f"{key}_sha256": weights_sha256(source) for key, source in config.start if source}


def recorded_start(record: dict[str, Any]) -> dict[str, str]:
    """Return the hashes of the weights that a recorded run started from; these may be gone."""
    names = [f"{key}_sha256" for key in SOURCES]
    return {name: record[name] for name in names if name in record}


def load_start(model: JointModel, config: RunConfig) -> None:
    """Give a model the weights that its recipe starts from.

    Raises
    ------
    CheckpointError
        Weights of another model or of another data step, or that the model cannot grow from.
    """
    if source := config.start.init:
        found = _source_model(source, model)
        try:
            load_matching(model, found.state_dict(), source)
        except CheckpointError as error:
            hint = "start.grow_from begins a larger network as a smaller one"
            raise CheckpointError(f"{error} ({hint})") from None
    if source := config.start.grow_from:
        try:
            grow(model, _source_model(source, model))
        except GrowthError as error:
            raise CheckpointError(f"{source}: {error}") from None
    if source := config.start.recon_from:
        # The reconstruction of another system, or one that has weights of its own.
        found = _source_model(source, model)
        recon = found.parts()[0] if isinstance(found, JointModel) else found
        if recon is None:
            raise CheckpointError(f"{source}: start.recon_from is a model without reconstruction")
        load_matching(split_parts(model, config.model)[0], recon.state_dict(), source)


def mix_with_start(model: nn.Module, record: dict[str, Any], share: float) -> None:
    """Turn weights w of a run into (1 - share) w + share w_0, w_0 those that it started from.

    These are the weights of its `start.init`, or what a second pass begins as, which is a copy of
    the first one of its `start.grow_from`. After fine-tuning the mean of both is often better than
    either, above all on other data (Wortsman et al., CVPR 2022).

    Raises
    ------
    UsageError
        A share outside [0, 1), or a run without such a start.
    ValueError
        Other weights there than at its start.
    """
    if not 0 <= share < 1:
        raise UsageError(f"start_share is {share:g}, a share is at least 0 and below 1")
    key = "grow_from" if record.get("refinement") and record.get("start.grow_from") else "init"
    source = record.get(f"start.{key}")
    if not source:
        raise UsageError("start_share needs a run that started from weights (start.init=CARD)")
    found, was = weights_sha256(source), record[f"{key}_sha256"]
    if found != was:
        raise ValueError(f"{source}: sha256 is {found[:12]}, was {was[:12]}")
    start = _model_of(source, model)
    if key == "grow_from":
        # A copy, of which every parameter is then that of the first pass.
        small, start = start, copy.deepcopy(model)
        grow(start, small)
    pairs = zip(model.parameters(), start.parameters(), strict=True)
    with torch.no_grad():
        for own, before in pairs:
            own.lerp_(before, share)


def _model_of(source: str, model: nn.Module) -> nn.Module:
    """Return the model of a card, or the averaged one of a run's folder, for `model`.

    A network with a second pass gives its first one to a network that has only this.
    """
    path = source_path(source)
    found = averaged_model(path)[0] if path.is_dir() else load_weights(path)[0]
    if isinstance(found, JrsrDc) and isinstance(model, JrsrDc) and model.refinement is None:
        found.refinement = None
    return found


def _source_model(source: str, model: nn.Module) -> nn.Module:
    """Return the model of a source; refuse one whose tensors fit but mean another iteration."""
    found = _model_of(source, model)
    data_step, own = data_step_of(found), data_step_of(model)
    if data_step and own and data_step != own:
        raise CheckpointError(f"{source}: data_step is {data_step}, the recipe's model has {own}")
    return found
