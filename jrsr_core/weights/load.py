"""Reading weights into models; nothing is unpickled."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from torch import Tensor, nn

from jrsr_core.common.spelling import UnknownName
from jrsr_core.models.consistent import Consistent
from jrsr_core.models.interfaces import JointModel, ReconModel, TwoStage, UpsampleModel
from jrsr_core.models.names import CONSISTENT, RECONS, UPSAMPLES, without_consistency
from jrsr_core.models.registry import architecture, build_model
from jrsr_core.models.variants import Variant

from .card import CardError, WeightsCard
from .find import Part, example_of_system, find_system, name_of
from .sets import split_set

Model = JointModel | ReconModel | UpsampleModel

MAX_HEADER_BYTES = 1 << 20
"""Longest list of tensors that is read; that of the largest network has 0.11 MiB."""

MAX_BLOCKS = 64
"""Most RRDBs of a second pass that are built for a card; the paper's SR has 23."""


@dataclass(frozen=True, eq=False)
class LoadedSystem:
    """A model in evaluation mode, its full name, and the cards of its weights."""

    model: JointModel
    name: str
    cards: tuple[WeightsCard, ...]


def load_weights(path: str | Path) -> tuple[Model, WeightsCard]:
    """Return the model of a card, in evaluation mode, with its weights as float32.

    Raises
    ------
    CardError
        Card unreadable, weights missing, hash or architecture not as the card says, tensors that
        do not fit the model or are not finite.
    """
    path = Path(path)
    if not path.is_file():
        is_name = path.suffix != ".json"
        hint = ", a file *.json; load_model takes the name of a system" if is_name else ""
        raise CardError(f"{path}: no such weights card{hint}")
    card = WeightsCard.read(path)
    stated, variant = _with_variant(card)
    try:
        model = build_model(card.model, preset=card.preset, **asdict(variant))
        built = _as_json(architecture(card.model, card.preset, variant))
    except UnknownName as error:
        own = "an own network is registered by register_model, or declared by its package"
        raise CardError(f"{path.name}: {error} ({own})") from error
    except ValueError as error:
        raise CardError(f"{path.name}: {error}") from error
    if built != stated:
        key = next(k for k in sorted(set(built) | set(stated)) if built.get(k) != stated.get(k))
        raise CardError(
            f"{path.name}: architecture differs in {key!r}: "
            f"card {stated.get(key)}, model {built.get(key)}"
        )
    tensors: dict[str, Tensor] = {}
    for shard in card.verified_bytes(path.parent):
        tensors |= _tensors_of(shard, card.file)
    _check_tensors(card, model, tensors)
    model.load_state_dict({k: v.to(torch.float32) for k, v in tensors.items()})
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    return model.eval(), card


def _tensors_of(content: bytes, name: str) -> dict[str, Tensor]:
    """Return the tensors of one safetensors file, whose header must not be too long."""
    n_bytes = int.from_bytes(content[:8], "little")
    if n_bytes > MAX_HEADER_BYTES:
        text = f"safetensors header of {n_bytes} bytes, limit {MAX_HEADER_BYTES}"
        raise CardError(f"{name}: {text}")
    try:
        return load_bytes(content)
    except SafetensorError as error:
        raise CardError(f"{name}: no safetensors file ({error})") from error


def _with_variant(card: WeightsCard) -> tuple[dict[str, Any], Variant]:
    """Return the architecture of a card and the variant of its network.

    Cards without a data step are of networks that had the step "gradient" alone, and those of
    jrsr-dc without a refinement of networks that had none. A refinement without a number of blocks
    had those of the first pass.
    """
    stated: dict[str, Any] = card.architecture
    if card.model == "jrsr-dc":
        stated = {"refinement": False, "refinement_blocks": 0, **stated}
    n_blocks = stated.get("refinement_blocks")
    if type(n_blocks) is not int or not 0 <= n_blocks <= MAX_BLOCKS:
        n_blocks = 0  # built without it, the network then differs from what the card states
    second = Variant(None, stated.get("refinement") is True, n_blocks)
    inner = stated.get("model", stated)
    rec = inner.get("rec") if isinstance(inner, dict) else None
    if not isinstance(rec, dict):
        return stated, second
    rec = {**rec, "data_step": rec.get("data_step", "gradient")}
    inner = {**inner, "rec": rec}
    variant = replace(second, data_step=rec["data_step"])
    return ({**stated, "model": inner} if "model" in stated else inner), variant


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    """Return an architecture as it reads from JSON: tuples become lists."""
    return json.loads(json.dumps(value))


def _check_tensors(card: WeightsCard, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    found = {k: tuple(v.shape) for k, v in tensors.items()}
    if expected != found:
        keys = sorted(set(expected) | set(found))
        key = next(k for k in keys if expected.get(k) != found.get(k))
        raise CardError(
            f"{card.file}: tensor {key!r} is {found.get(key)}, the model has {expected.get(key)}"
        )
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise CardError(f"{card.file}: tensor {name!r} is not finite")


def load_system(system: str, *, preset: str = "auto", weights: str = "") -> LoadedSystem:
    """Return a system with its weights; parameters as `find_system`.

    Raises
    ------
    ValueError
        As `find_system`; a card that does not exist or match, or is of the wrong kind of part.
    """
    _, consistent = without_consistency(split_set(system)[0])
    parts = find_system(system, preset=preset, weights=weights)
    models, cards = [], []
    for part in parts:
        if isinstance(part, Path):
            model, card = load_weights(part)
            cards.append(card)
        else:
            model = build_model(part).eval()
        models.append(model)
    joint = _assembled(parts, models)
    name = "+".join(name_of(part) for part in parts)
    if consistent and not isinstance(joint, Consistent):
        without_consistency(name + CONSISTENT)
        joint, name = Consistent(joint).eval(), name + CONSISTENT
    return LoadedSystem(joint, name, tuple(cards))


def _assembled(parts: tuple[Part, ...], models: list[Model]) -> JointModel:
    """Return the joint model, or the two parts in sequence; `CardError` for a wrong kind."""
    if len(models) == 1:
        if not isinstance(models[0], JointModel):
            name, path = name_of(parts[0]), str(parts[0])
            example = example_of_system(name, path)
            raise CardError(f"{path} is a card for the part {name}, write for instance {example}")
        return models[0]
    recon, upsample = models
    if not isinstance(recon, ReconModel):
        raise _wrong_part(parts[0], "first", RECONS)
    if not isinstance(upsample, UpsampleModel):
        raise _wrong_part(parts[1], "second", UPSAMPLES)
    return TwoStage(recon, upsample).eval()


def _wrong_part(part: Part, place: str, names: tuple[str, ...]) -> CardError:
    return CardError(f"{part}: the {place} part is one of {', '.join(names)}, got {name_of(part)}")
