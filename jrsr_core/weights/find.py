"""From the text of ``--model`` to weights cards; reads cards only and imports no torch.

    SYSTEM = NAME | NAME@SET | CARD | RECON+UPSAMPLE,    NAME, CARD, UPSAMPLE with or without +dc

NAME is one of `MODEL_NAMES` or an own network, CARD the path of a weights card (``*.json``), RECON
and UPSAMPLE the name of a part or the card of one: ``modl.json+medsrgan.json``,
``cg-sense+bebygan.json``. A name takes the shipped weights: of the whole system, else of its
parts; ``NAME@SET`` takes those of one of the sets in `sets`. The reconstruction always comes first.
"""

from pathlib import Path

from jrsr_core.models.names import (
    CONSISTENT,
    has_weights,
    recons,
    split_name,
    without_consistency,
)
from jrsr_core.models.names import parts as known_parts

from .card import CardError, WeightsCard
from .sets import SEPARATOR, cards_in, set_folders, split_set

Part = str | Path
"""Part of a system: its name where it has no weights, else the path of its card."""

PREFERRED = {"auto": ("compact", "paper", "tiny"), "largest": ("paper", "compact", "tiny")}
"""Presets in the order in which they are tried; "auto" suits a CPU."""


def find_card(model: str, preset: str = "auto", *folders: Path) -> Path:
    """Return the card of a model in a preset, or the first one found of `PREFERRED`.

    The folders are searched one after the other; those of a plain name where none is given.

    Raises
    ------
    CardError
        No such card in any of the folders.
    """
    folders = folders or set_folders("")
    for folder in folders:
        for name in PREFERRED.get(preset, (preset,)):
            path = folder / f"{model}_{name}.json"
            if path.exists():
                return path
    stems = dict.fromkeys(path.stem for folder in folders for path in cards_in(folder))
    have = ", ".join(stems) or "none"
    raise CardError(
        f"no weights for {model} in preset {preset}; there are: {have} (or name a card, *.json)"
    )


def find_system(system: str, *, preset: str = "auto", weights: str = "") -> tuple[Part, ...]:
    """Return the one or two parts of a system.

    `weights` is one card, or two joined by "+", for the system named `system`.

    Raises
    ------
    ValueError
        Unknown name or set; a trainable system without weights; `weights` of another system, or
        together with a set; a `preset` for a system that has no weights.
    FileNotFoundError
        `weights` does not exist.
    """
    name, chosen = split_set(system)
    base, consistent = without_consistency(name)
    if weights and chosen:
        raise ValueError(f"model is {system}, weights is {weights}: give only one of set and card")
    if weights:
        parts = _parts_of_text(weights)
        named = "+".join(name_of(part) for part in parts)
        if named not in (base, name):
            raise CardError(f"{weights}: card is for {named}, model asked for is {name}")
        return parts
    if ".json" in base:
        return _parts_of_text(base)
    names = split_name(base)
    if base in known_parts():
        example = example_of_system(base, base)
        raise ValueError(f"{base} is a part, a system has two, for instance {example}")
    folders = set_folders(chosen)
    if not has_weights(base):
        if chosen:
            raise ValueError(f"{base} has no weights, leave out {SEPARATOR}{chosen}")
        if preset not in PREFERRED:
            raise ValueError(f"preset is {preset!r}, but {base} has no weights and a single size")
        return names
    whole = (f"{base}{CONSISTENT}", base) if consistent else (base,)
    return _shipped(whole, names, preset, folders)


def system_cards(
    system: str, *, preset: str = "auto", weights: str = ""
) -> tuple[WeightsCard, ...]:
    """Return the cards of a system; parameters and errors as `find_system`."""
    return cards_of(find_system(system, preset=preset, weights=weights))


def cards_of(parts: tuple[Part, ...]) -> tuple[WeightsCard, ...]:
    """Return the cards of the parts of a system that have one."""
    return tuple(WeightsCard.read(part) for part in parts if isinstance(part, Path))


def system_name(system: str) -> str:
    """Return the full name of a system that is given as a name or by cards.

    Raises
    ------
    FileNotFoundError
        No such card.
    ValueError
        A card that is not readable.
    """
    base, _ = without_consistency(split_set(system)[0])
    return full_name(system, _parts_of_text(base) if ".json" in base else (base,))


def full_name(system: str, parts: tuple[Part, ...]) -> str:
    """Return the full name of a system whose parts have been found; errors as `system_name`."""
    _, consistent = without_consistency(split_set(system)[0])
    name = "+".join(name_of(part) for part in parts)
    return name + CONSISTENT if consistent and not name.endswith(CONSISTENT) else name


def name_of(part: Part) -> str:
    """Return the name of a part, read from its card where it has one."""
    if isinstance(part, str):
        return part
    if not part.is_file():
        raise FileNotFoundError(f"{part}: no such weights card")
    return WeightsCard.read(part).model


def example_of_system(name: str, part: str) -> str:
    """Return an example of a system with a part called `name`, written as `part`."""
    return f"{part}+bicubic" if name in recons() else f"cg-sense+{part}"


def _parts_of_text(text: str) -> tuple[Part, ...]:
    """Split at the "+" between two parts; a "+" inside a path is no separator."""
    if Path(text).is_file():
        return (Path(text),)
    for i, letter in enumerate(text):
        sides = text[:i], text[i + 1 :]
        if letter == "+" and all(s in known_parts() or s.endswith(".json") for s in sides):
            return tuple(s if s in known_parts() else Path(s) for s in sides)
    return (Path(text),)


def _shipped(
    whole: tuple[str, ...], names: tuple[str, ...], preset: str, folders: tuple[Path, ...]
) -> tuple[Part, ...]:
    """Return the first shipped card of the names in `whole`, else one per part."""
    for name in whole:
        try:
            return (find_card(name, preset, *folders),)
        except CardError as error:
            missing = error
    if len(names) == 1:
        raise missing
    try:
        return tuple(find_card(n, preset, *folders) if has_weights(n) else n for n in names)
    except CardError:
        # Weights of a whole system, as modl+medsrgan, cannot be used for another one with modl.
        raise missing from None
