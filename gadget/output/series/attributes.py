"""The meta attributes of an image, as far as a format can use them.

Attributes come over the network and from files of other software. One that is not of the kind that
its name stands for is taken for absent, so that it neither ends a conversion nor leaves invalid
values in the output.
"""

import math
import re
from collections.abc import Callable

LARGEST = 1e30
"""Of a window or an acceleration; pixels are float32."""

TEXTS = (
    "JRSR_model",
    "JRSR_weights_sha256",
    "JRSR_map",
    "JRSR_fallback",
    "JRSR_research_use",
)
MAP_NAME = re.compile(r"\w{1,16}", re.ASCII)


def usable_attributes(meta: dict) -> dict[str, object]:
    """Return the attributes without those that cannot be used; empty ones are empty texts."""
    found = {name: "" if value is None else value for name, value in meta.items()}
    for name, read in _READERS.items():
        if name not in found:
            continue
        value = read(found[name])
        if value is None:
            del found[name]
        else:
            found[name] = value
    return found


def number_of(value: object) -> float | None:
    """Return a finite number of usual size, None for anything else."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) <= LARGEST else None


def texts_of(value: object) -> list[str]:
    """Return one or several texts as a list; none where there is no value."""
    several = value if isinstance(value, list | tuple) else [value]
    return [str(text) for text in several if text not in (None, "")]


def _text(value: object) -> str:
    return "; ".join(texts_of(value))


def _map(value: object) -> str:
    """Return the name of a map; whatever is called a map is none of the images."""
    name = _text(value)
    return name if not name or MAP_NAME.fullmatch(name) else "map"


def _positive(value: object) -> float | None:
    number = number_of(value)
    return number if number is not None and number > 0 else None


def _stamp(value: object) -> int | None:
    """Return a time stamp of 32 bits; 0 stands for none."""
    number = number_of(value)
    return int(number) if number and number.is_integer() and 0 < number < 2**32 else None


def _count(value: object) -> int | None:
    """Return a number of averages or lines, which counters of 16 bits can number."""
    sizes = _matrix([value])
    return sizes[0] if sizes else None


def _share(value: object) -> float | None:
    number = number_of(value)
    return number if number is not None and 0 <= number <= 1 else None


def _matrix(value: object) -> list[int] | None:
    sizes = [number_of(text) for text in texts_of(value)]
    if not all(n is not None and n.is_integer() and 0 < n < 2**16 for n in sizes):
        return None
    return [int(n) for n in sizes if n is not None]


_READERS: dict[str, Callable[[object], object]] = {
    **dict.fromkeys(TEXTS, _text),
    "JRSR_map": _map,
    "JRSR_acceleration": _positive,
    "JRSR_denoise": _share,
    "JRSR_acquired_matrix": _matrix,
    "JRSR_first_time_stamp": _stamp,
    "JRSR_n_averages": _count,
    "JRSR_n_phase_encodes": _count,
    "JRSR_pixel_bandwidth_hz": _positive,
    "WindowCenter": number_of,
    "WindowWidth": _positive,
}
