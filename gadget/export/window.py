"""The window of a series: what a viewer shows of its values at first."""

import math

from .store import Series

EMPTY_WIDTH = 1e-6
"""Of a series without any signal; DICOM wants a width above zero."""


def series_window(series: Series) -> tuple[float, float]:
    """Return centre and width of the widest window that its images name, else of all values."""
    named = [w for head in series.heads if (w := _window(head.meta)) is not None]
    width = series.top - series.bottom or EMPTY_WIDTH
    return max(named, key=lambda w: w[1], default=(series.bottom + width / 2, width))


def _window(meta: dict) -> tuple[float, float] | None:
    """Return centre and width of an image, None unless both are single numbers of use."""
    center, width = (_number(meta.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width <= 0:
        return None
    return center, width


def _number(value: object) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
