"""Settings by their dotted keys, as recipes, the command line and run folders give them.

`loss.pix` is the key `pix` of the group `loss`. Keys from before the settings were grouped are
taken as well; see `former_keys`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from jrsr_core.common.spelling import nearest
from jrsr_core.common.validation import one_line
from training.errors import UsageError

from .former_keys import FORMER_KEYS
from .groups import Group, RunConfig


def _walk(group: type[Group], prefix: str = "") -> Iterator[tuple[str, bool, Any]]:
    """Yield dotted name, whether it is a group, and default of every key below a group."""
    for name, field in group.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Group):
            yield f"{prefix}{name}", True, None
            yield from _walk(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", False, None if field.is_required() else field.default


DEFAULTS = {name: default for name, is_group, default in _walk(RunConfig) if not is_group}
"""Every setting of a run and its default, None where it has none."""

KEYS = tuple(DEFAULTS)
GROUPS = tuple(name for name, is_group, _ in _walk(RunConfig) if is_group)


def _hint(key: str) -> str:
    """Return the likely spelling of an unknown key, or the keys that its group has."""
    group, _, own = key.rpartition(".")
    inner = [name.rpartition(".")[2] for name in KEYS if name.startswith(f"{group}.")]
    return nearest(own, inner) if inner else nearest(key, KEYS)


def flatten(values: Mapping[str, Any], where: str, prefix: str = "") -> dict[str, Any]:
    """Return nested groups, dotted keys and former keys as one mapping by dotted key.

    Raises
    ------
    UsageError
        An unknown key (a likely spelling is named), a group that is no mapping, or a setting
        that is given twice; `where` names the file.
    """
    found: dict[str, Any] = {}
    for own, value in values.items():
        key = f"{prefix}{own}"
        if key in GROUPS and isinstance(value, Mapping):
            inner = flatten(value, where, f"{key}.")
        else:
            key = FORMER_KEYS.get(key, key)
            if key in GROUPS:
                raise UsageError(
                    f"{where}: {key} is {type(value).__name__}, expected a group of keys"
                )
            if key not in KEYS:
                raise UsageError(f"{where}: unknown key {key!r}{_hint(key)}")
            inner = {key: value}
        if twice := found.keys() & inner.keys():
            raise UsageError(f"{where}: {min(twice)} is given twice")
        found |= inner
    return found


def flat_settings(group: Group, prefix: str = "") -> dict[str, Any]:
    """Return all settings of a run by their dotted keys."""
    found: dict[str, Any] = {}
    for name, value in group:
        if isinstance(value, Group):
            found |= flat_settings(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def make_config(values: Mapping[str, Any], where: str = "settings") -> RunConfig:
    """Return the settings of a run from dotted keys, former keys or nested groups.

    Raises
    ------
    UsageError
        An unknown or missing key, or a value that is not possible; `where` names the file.
    """
    nested: dict[str, Any] = {}
    for key, value in flatten(values, where).items():
        *groups, name = key.split(".")
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = value
    try:
        return RunConfig(**nested)
    except ValidationError as error:
        first = error.errors()[0]
        hint = f" (give {first['loc'][-1]}=...)" if first["type"] == "missing" else ""
        raise UsageError(f"{where}: {one_line(error, RunConfig, 'key')}{hint}") from None
