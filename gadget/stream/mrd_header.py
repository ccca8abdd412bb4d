"""The header of MRD v2 as that of ISMRMRD v1.

Both have the same fields: `systemFieldStrength_T` of v1 is `system_field_strength_t` in v2. So a
field is found by its name without underscores and capitals.
"""

import enum
import typing
from typing import Any

from ismrmrd import xsd


def header_xml(header: Any) -> bytes:
    """Return a header of MRD v2 as the XML of ISMRMRD v1; fields that v1 lacks are left out."""
    return xsd.ToXML(_record(header, xsd.ismrmrdHeader), encoding="utf-8").encode("utf-8")


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _record(value: Any, kind: type) -> Any:
    """Return a record of v2 as a record of v1."""
    kinds = typing.get_type_hints(kind)
    names = {_plain(name): name for name in kinds}
    fields = {}
    for name, part in vars(value).items():
        target = names.get(_plain(name))
        if target is None or part is None:
            continue
        inner, is_list = _inner(kinds[target])
        if isinstance(part, list):
            fields[target] = [_value(p, inner) for p in part]
        else:
            fields[target] = [_value(part, inner)] if is_list else _value(part, inner)
    return kind(**fields)


def _inner(kind: Any) -> tuple[Any, bool]:
    """Return the type of a field without None and list, and whether it was a list."""
    is_list = typing.get_origin(kind) is list
    kinds = [k for k in typing.get_args(kind) or (kind,) if k is not type(None)]
    return kinds[0], is_list


def _value(value: Any, kind: Any) -> Any:
    if isinstance(value, enum.Enum):
        return _choice(value, kind)
    if hasattr(kind, "__dataclass_fields__"):
        return _record(value, kind)
    if hasattr(kind, "from_string"):
        # Dates and times.
        return kind.from_string(str(value))
    return kind(value) if kind in (int, float, str) else value


def _choice(value: enum.Enum, kind: Any) -> Any:
    """Return the member of the same name; the name itself where v1 has a text, or no such name."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        for member in kind:
            if _plain(str(member.value)) == _plain(value.name):
                return member
    return value.name
