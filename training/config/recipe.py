"""Recipes: YAML files with the settings of a run.

A recipe may name a `base` recipe beside it and then holds only where it differs. Every key can be
changed on the command line as key=value.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from training.errors import UsageError

from .groups import RunConfig
from .keys import flatten, make_config

MAX_BASES = 5


def _read(path: Path, depth: int = 0) -> dict[str, Any]:
    """Return the settings of a recipe over those of its bases, by dotted key."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise UsageError(f"{path.name}: not a text file, a recipe is YAML") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path.name}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path.name}: a recipe is a mapping, got {type(values).__name__}")
    base = values.pop("base", None)
    own = flatten(values, path.name)
    if base is None:
        return own
    if depth == MAX_BASES:
        raise UsageError(f"{path.name}: more than {MAX_BASES} bases in a row")
    return _read(path.parent / str(base), depth + 1) | own


def parse_changes(pairs: Sequence[str]) -> dict[str, Any]:
    """Return "key=value" texts as a mapping by dotted key; values are YAML, the last one wins.

    Raises
    ------
    UsageError
        A text without "=", or an unknown key.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign:
            raise UsageError(f"{pair!r} is not key=value")
        try:
            value = yaml.safe_load(text) if text else ""
        except yaml.YAMLError:
            value = text
        values |= flatten({key: value}, "command line")
    return values


def load_recipe(path: Path, changes: Sequence[str] | Mapping[str, Any] | None = None) -> RunConfig:
    """Return the run of a recipe and its bases; `changes` win over both.

    They are "key=value" texts, or values by dotted key.

    Without `out` the run goes to `runs/NAME`, where NAME is that of the recipe.

    Raises
    ------
    UsageError
        Not a mapping, an unknown key (a likely spelling is named), a missing key, or a value
        that is not possible.
    """
    path = Path(path)
    if isinstance(changes, Mapping):
        own = flatten(changes, "changes")
    else:
        own = parse_changes(changes or ())
    values = {"out": f"runs/{path.stem}"} | _read(path) | own
    return make_config(values, path.name)
