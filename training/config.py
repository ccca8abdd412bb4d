"""Recipes: YAML files that become a frozen `RunConfig`; unknown keys are refused."""

import difflib
from dataclasses import MISSING, fields
from pathlib import Path

import yaml

from .supervised import RunConfig


def load_recipe(path: Path) -> RunConfig:
    """Read a recipe.

    Raises
    ------
    ValueError
        Not a mapping, an unknown key (the nearest known one is named), a missing key, a value of
        the wrong type.
    """
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{path.name}: a recipe is a mapping, got {type(values).__name__}")
    known = {f.name: f for f in fields(RunConfig)}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.0)[0]
            raise ValueError(f"{path.name}: unknown key {key!r}, nearest: {near}")
        wanted = known[key].type
        accepted = (int, float) if wanted is float else wanted
        if not isinstance(value, accepted) or isinstance(value, bool):
            got = type(value).__name__
            raise ValueError(f"{path.name}: {key} is {got}, expected {wanted.__name__}")
    missing = [f.name for f in known.values() if f.default is MISSING and f.name not in values]
    if missing:
        raise ValueError(f"{path.name}: key {missing[0]!r} is missing")
    return RunConfig(**values)
