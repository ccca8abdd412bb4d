"""Values of a Siemens protocol, checked: it is input like any other."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jrsr_core.mrd.errors import BadScan

PARTS = ("MeasYaps", "Meas", "Dicom", "Config")
"""Parts of a protocol in which a value is sought, in this order."""

MAX_TEXT = 256


class Protocol:
    """A protocol as twixtools parses it: part -> name -> value."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self._parts = [p for p in map(parts.get, PARTS) if isinstance(p, Mapping)]
        if not self._parts:
            raise BadScan(f"the protocol has none of {', '.join(PARTS)}")

    def value(self, *path: str | int) -> Any:
        """Return the value at a path of names and indices, None where there is none."""
        for part in self._parts:
            value: Any = part
            for step in path:
                if isinstance(value, Mapping) and isinstance(step, str):
                    value = value.get(step)
                elif _is_list(value) and isinstance(step, int) and step < len(value):
                    value = value[step]
                else:
                    value = None
            if value not in (None, "", [], {}):
                return value
        return None

    def number(self, *path: str | int, default: float | None = None) -> float:
        """Return a finite number; raises `BadScan` if it is missing without a `default`."""
        value = self.value(*path)
        if _is_list(value) and value:
            value = value[0]
        found = _number(value)
        if found is not None:
            return found
        if default is None or value is not None:
            name = ".".join(map(str, path))
            raise BadScan(f"protocol: {name} is {value!r:.60}, expected a number")
        return default

    def size(self, *path: str | int, default: int | None = None) -> int:
        """Return a whole number from 1 to 65535; raises `BadScan`."""
        value = self.number(*path, default=default)
        if not 1 <= value <= 65535 or value != round(value):
            name = ".".join(map(str, path))
            raise BadScan(f"protocol: {name} is {value:g}, expected 1 to 65535")
        return round(value)

    def numbers(self, *path: str | int, n: int) -> list[float]:
        """Return the first `n` numbers of a list, fewer where there are fewer."""
        values = self.value(*path)
        found = [_number(v) for v in values[:n]] if _is_list(values) else []
        return [v for v in found if v is not None]

    def text(self, *path: str | int) -> str:
        """Return a text without quotation marks, "" where there is none."""
        value = self.value(*path)
        return value.strip('" ')[:MAX_TEXT] if isinstance(value, str) else ""

    def list(self, *path: str | int) -> Sequence[Any]:
        """Return a list, empty where there is none."""
        value = self.value(*path)
        return value if _is_list(value) else ()


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _number(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(int(value, 0)) if value.lower().startswith("0x") else float(value)
        except ValueError:
            return None
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None
