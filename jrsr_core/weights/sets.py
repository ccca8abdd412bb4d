"""The weights inside the package: those for any scan, and sets of one protocol each.

    weights/                 jrsr and jrsr-dc, trained on varied scans
    weights/brain-5x/        one file per row of the paper's tables 1 and 3, trained on one protocol
    weights/wall-16x/        the same for tables 2 and 4
    weights/brain-5x-gan/    rows of brain-5x that went on with the paper's losses

``NAME@SET`` takes a system from a set, NAME the first weights of that system in the order of this
list.
"""

from pathlib import Path

from jrsr_core.common.spelling import UnknownName, nearest

from .card import INDEX_SUFFIX, WeightsCard

SEPARATOR = "@"
DEFAULT_SET = "brain-5x"
"""Set whose weights a plain name takes where none were trained on varied scans."""


def shipped_folder() -> Path:
    """Return the folder of the weights inside the package."""
    return Path(__file__).parent


def cards_in(folder: Path) -> list[Path]:
    """Return the cards of a folder; the index of shards is no card."""
    return sorted(p for p in folder.glob("*.json") if not p.name.endswith(INDEX_SUFFIX))


def weight_sets() -> tuple[str, ...]:
    """Return the names of the shipped sets, the default one first."""
    names = sorted({path.parent.name for path in shipped_folder().glob("*/*.json")})
    return tuple(sorted(names, key=lambda name: name != DEFAULT_SET))


def names_in_sets() -> list[str]:
    """Return ``NAME@SET`` of all weights in sets, by the names of their files."""
    root = shipped_folder()
    return [
        f"{path.stem.rpartition('_')[0]}{SEPARATOR}{chosen}"
        for chosen in weight_sets()
        for path in cards_in(root / chosen)
    ]


def split_set(system: str) -> tuple[str, str]:
    """Return the name and the set of ``NAME@SET``; the set is empty where none is named.

    A path of a card is no name, whatever characters it has.
    """
    name, _, chosen = system.partition(SEPARATOR)
    return (name, chosen) if chosen and ".json" not in system else (system, "")


def set_folders(chosen: str) -> tuple[Path, ...]:
    """Return the folder of a set, or where no set is chosen the folders in which a name is sought.

    Raises
    ------
    UnknownName
        No such set.
    """
    root = shipped_folder()
    if not chosen:
        return (root, root / DEFAULT_SET)
    if chosen not in weight_sets():
        raise UnknownName(f"no set of weights {chosen!r}{nearest(chosen, weight_sets())}")
    return (root / chosen,)


def list_shipped() -> dict[str, WeightsCard]:
    """Return the card of every shipped system by the name that selects it; hashes are verified.

    Raises
    ------
    CardError
        A card that is not readable, or weights that do not match it.
    """
    root, found = shipped_folder(), {}
    for chosen in ("", *weight_sets()):
        for path in cards_in(root / chosen):
            card = WeightsCard.read(path)
            card.verified_bytes(path.parent)
            found[f"{card.model}{SEPARATOR}{chosen}" if chosen else card.model] = card
    return found
