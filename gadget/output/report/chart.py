"""Places the marks of a line chart of one value per image; the template draws them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 190, 46, 12, 8, 24
"""Size of the chart and of its margins, in units of the SVG."""

N_LINES = 5
"""Horizontal grid lines."""


@dataclass(frozen=True)
class Chart:
    """Marks of a chart in units of the SVG.

    Attributes
    ----------
    lines
        Height and label of each horizontal grid line.
    labels
        Place and text along the horizontal axis.
    curves
        Points of each curve, by its name.
    """

    lines: list[tuple[float, str]]
    labels: list[tuple[float, str]]
    curves: dict[str, list[tuple[float, float]]]


def line_chart(curves: Mapping[str, Sequence[float]]) -> Chart:
    """Return the chart of values of all images, with a vertical axis that starts at 0."""
    top = nice_top(max((v for values in curves.values() for v in values), default=0.0))
    n = max(map(len, curves.values()))

    def x_of(i: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (i / (n - 1) if n > 1 else 0.5)

    def y_of(value: float) -> float:
        return TOP + (HEIGHT - BOTTOM - TOP) * (1 - value / top)

    levels = [top * k / (N_LINES - 1) for k in range(N_LINES)]
    return Chart(
        lines=[(y_of(v), f"{v:.3g}") for v in levels],
        labels=[(x_of(0), "1"), (x_of((n - 1) // 2), "image"), (x_of(n - 1), str(n))],
        curves={
            name: [(x_of(i), y_of(v)) for i, v in enumerate(values)]
            for name, values in curves.items()
        },
    )


def nice_top(value: float) -> float:
    """Return the next larger number whose quarters are easy to read: 1, 2, 4 or 8 times 10^n."""
    if not (value > 0 and math.isfinite(value)):
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(k * unit for k in (1, 2, 4, 8, 10) if k * unit >= 1.02 * value or k == 10)
