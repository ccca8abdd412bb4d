"""From the text of ``--model`` to weights cards; reads cards only and imports no torch.

    SYSTEM = NAME | CARD | RECON+UPSAMPLE,    each with or without +dc behind it

NAME is one of `MODEL_NAMES`, CARD the path of a weights card (``*.json``), RECON and UPSAMPLE the
name of a part or the card of one: ``modl.json+medsrgan.json``, ``cg-sense+bebygan.json``. A name
takes the shipped weights: of the whole system, else of its parts. The reconstruction always comes
first.
"""

from pathlib import Path

from jrsr_core.models.names import (
    CONSISTENT,
    MODEL_NAMES,
    PARTS,
    RECONS,
    has_weights,
    split_name,
    without_consistency,
)

from .card import INDEX_SUFFIX, CardError, WeightsCard

Part = str | Path
"""Part of a system: its name where it has no weights, else the path of its card."""

PREFERRED = {"auto": ("compact", "paper", "tiny"), "largest": ("paper", "compact", "tiny")}
"""Presets in the order in which they are tried; "auto" suits a CPU."""


def shipped_folder() -> Path:
    """Return the folder of the weights inside the package."""
    return Path(__file__).parent


def list_weights(folder: Path | None = None) -> list[WeightsCard]:
    """Return the cards of a folder, the shipped one where None; the hash of each is verified."""
    folder = folder or shipped_folder()
    cards = []
    for path in _cards(folder):
        card = WeightsCard.read(path)
        card.verified_bytes(folder)
        cards.append(card)
    return cards


def _cards(folder: Path) -> list[Path]:
    """Return the cards of a folder; the index of shards is no card."""
    return sorted(p for p in folder.glob("*.json") if not p.name.endswith(INDEX_SUFFIX))


def find_card(model: str, preset: str = "auto", folder: Path | None = None) -> Path:
    """Return the card of a model in a preset, or the first one found of `PREFERRED`.

    Raises
    ------
    CardError
        No such card in the folder, the shipped one where None.
    """
    folder = folder or shipped_folder()
    for name in PREFERRED.get(preset, (preset,)):
        path = folder / f"{model}_{name}.json"
        if path.exists():
            return path
    have = ", ".join(path.stem for path in _cards(folder)) or "none"
    raise CardError(
        f"no weights for {model} in preset {preset}; there are: {have} (or name a card, *.json)"
    )


def find_system(system: str, *, preset: str = "auto", weights: str = "") -> tuple[Part, ...]:
    """Return the one or two parts of a system.

    `weights` is one card, or two joined by "+", for the system named `system`.

    Raises
    ------
    ValueError
        Unknown name; a trainable system without weights; `weights` of another system.
    FileNotFoundError
        `weights` does not exist.
    """
    base, consistent = without_consistency(system)
    if weights:
        parts = _parts_of_text(weights)
        named = "+".join(name_of(part) for part in parts)
        if named not in (base, system):
            raise CardError(f"{weights}: card is for {named}, model asked for is {system}")
        return parts
    if ".json" in base:
        return _parts_of_text(base)
    names = split_name(base)
    if base not in MODEL_NAMES:
        example = example_of_system(base, base)
        raise ValueError(f"{base} is a part, a system has two, for instance {example}")
    if not has_weights(base):
        return names
    whole = (f"{base}{CONSISTENT}", base) if consistent else (base,)
    return _shipped(whole, names, preset)


def system_cards(
    system: str, *, preset: str = "auto", weights: str = ""
) -> tuple[WeightsCard, ...]:
    """Return the cards of a system; parameters and errors as `find_system`."""
    parts = find_system(system, preset=preset, weights=weights)
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
    base, consistent = without_consistency(system)
    parts = _parts_of_text(base) if ".json" in base else (base,)
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
    return f"{part}+bicubic" if name in RECONS else f"cg-sense+{part}"


def _parts_of_text(text: str) -> tuple[Part, ...]:
    """Split at the "+" between two parts; a "+" inside a path is no separator."""
    if Path(text).is_file():
        return (Path(text),)
    for i, letter in enumerate(text):
        sides = text[:i], text[i + 1 :]
        if letter == "+" and all(s in PARTS or s.endswith(".json") for s in sides):
            return tuple(s if s in PARTS else Path(s) for s in sides)
    return (Path(text),)


def _shipped(whole: tuple[str, ...], names: tuple[str, ...], preset: str) -> tuple[Part, ...]:
    """Return the first shipped card of the names in `whole`, else one per part."""
    for name in whole:
        try:
            return (find_card(name, preset),)
        except CardError as error:
            missing = error
    if len(names) == 1:
        raise missing
    return tuple(find_card(n, preset) if has_weights(n) else n for n in names)
