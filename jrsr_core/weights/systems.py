"""From what a user writes to a system with its weights.

    SYSTEM = NAME | CARD | RECON+UPSAMPLE,    each with or without +dc behind it

NAME is one of `MODEL_NAMES`, CARD the path of a weights card (``*.json``), RECON and UPSAMPLE the
name of a part or the card of one: ``modl.json+medsrgan.json``, ``cg-sense+bebygan.json``. A name
takes the weights the package ships: of the whole system, else of its parts. The first part always
is the reconstruction.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from jrsr_core.models.consistent import Consistent
from jrsr_core.models.interfaces import JointModel, ReconModel, TwoStage, UpsampleModel
from jrsr_core.models.registry import (
    CONSISTENT,
    MODEL_NAMES,
    PARTS,
    RECONS,
    UPSAMPLES,
    build_model,
    has_weights,
    split_name,
    without_consistency,
)

from .card import CardError, WeightsCard
from .store import find_card, load_weights

Part = str | Path


@dataclass(frozen=True, eq=False)
class LoadedSystem:
    """A model in evaluation mode, its full name, and the cards of its weights."""

    model: JointModel
    name: str
    cards: tuple[WeightsCard, ...]


def find_system(system: str, *, preset: str = "auto", weights: str = "") -> tuple[Part, ...]:
    """Return what a system is made of: one or two names without weights or paths of cards.

    `weights` is one card, or two joined by "+", for the system named `system`.

    Raises
    ------
    ValueError
        Unknown name; a trainable system without weights; `weights` of another system.
    FileNotFoundError
        `weights` is not there.
    """
    base, consistent = without_consistency(system)
    if weights:
        parts = _parts_of_text(weights)
        named = "+".join(_name_of(part) for part in parts)
        if named not in (base, system):
            raise CardError(f"{weights}: card is for {named}, model asked for is {system}")
        return parts
    if ".json" in base:
        return _parts_of_text(base)
    names = split_name(base)
    if base not in MODEL_NAMES:
        example = _example(base, base)
        raise ValueError(f"{base} is a part, a system has two, for instance {example}")
    if not has_weights(base):
        return names
    whole = (f"{base}{CONSISTENT}", base) if consistent else (base,)
    return _shipped(whole, names, preset)


def system_cards(
    system: str, *, preset: str = "auto", weights: str = ""
) -> tuple[WeightsCard, ...]:
    """Return the cards of a system, without its weights; raises as `find_system`."""
    parts = find_system(system, preset=preset, weights=weights)
    return tuple(WeightsCard.read(part) for part in parts if isinstance(part, Path))


def system_name(system: str) -> str:
    """Return the full name of a system written as name or by cards; only cards are read.

    Raises
    ------
    FileNotFoundError
        No such card.
    ValueError
        A card that is not readable.
    """
    base, consistent = without_consistency(system)
    parts = _parts_of_text(base) if ".json" in base else (base,)
    name = "+".join(_name_of(part) for part in parts)
    return name + CONSISTENT if consistent and not name.endswith(CONSISTENT) else name


def load_system(system: str, *, preset: str = "auto", weights: str = "") -> LoadedSystem:
    """Build the system, loaded with its weights; see `find_system`.

    Raises
    ------
    ValueError
        As `find_system`; a card that is not there or does not match, or of the wrong kind of part.
    """
    _, consistent = without_consistency(system)
    parts = find_system(system, preset=preset, weights=weights)
    loaded = [_load(part) for part in parts]
    model = _assembled(parts, [m for m, _ in loaded])
    name = "+".join(_name_of(part) for part in parts)
    if consistent and not isinstance(model, Consistent):
        without_consistency(name + CONSISTENT)
        model, name = Consistent(model).eval(), name + CONSISTENT
    return LoadedSystem(model, name, tuple(card for _, card in loaded if card))


def _parts_of_text(text: str) -> tuple[Part, ...]:
    """Split at the "+" between two parts; a "+" inside a path is left alone."""
    if Path(text).is_file():
        return (Path(text),)
    for i, letter in enumerate(text):
        sides = text[:i], text[i + 1 :]
        if letter == "+" and all(s in PARTS or s.endswith(".json") for s in sides):
            return tuple(s if s in PARTS else Path(s) for s in sides)
    return (Path(text),)


def _name_of(part: Part) -> str:
    if isinstance(part, str):
        return part
    if not part.is_file():
        raise FileNotFoundError(f"{part}: no such weights card")
    return WeightsCard.read(part).model


def _example(name: str, part: str) -> str:
    """Return how to write a system of one part, `name` being its kind."""
    return f"{part}+bicubic" if name in RECONS else f"cg-sense+{part}"


def _shipped(whole: tuple[str, ...], names: tuple[str, ...], preset: str) -> tuple[Part, ...]:
    for name in whole:
        try:
            return (find_card(name, preset),)
        except CardError as error:
            missing = error
    if len(names) == 1:
        raise missing
    return tuple(find_card(n, preset) if has_weights(n) else n for n in names)


def _load(part: Part) -> tuple[nn.Module, WeightsCard | None]:
    if isinstance(part, Path):
        return load_weights(part)
    return build_model(part).eval(), None


def _assembled(parts: tuple[Part, ...], models: list[nn.Module]) -> JointModel:
    if len(models) == 1:
        if not isinstance(models[0], JointModel):
            name, path = _name_of(parts[0]), str(parts[0])
            example = _example(name, path)
            raise CardError(f"{path} is a card for the part {name}, write for instance {example}")
        return models[0]
    kinds = ((ReconModel, "first", RECONS), (UpsampleModel, "second", UPSAMPLES))
    for part, model, (kind, place, names) in zip(parts, models, kinds, strict=True):
        if not isinstance(model, kind):
            raise CardError(
                f"{part}: the {place} part is one of {', '.join(names)}, got {_name_of(part)}"
            )
    return TwoStage(*models).eval()
