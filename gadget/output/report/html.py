"""HTML of the report, from texts and pictures: one page that needs nothing but itself.

No script and nothing from outside; tabs are radio buttons, colours follow the reader's preference.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

STYLE = Path(__file__).with_name("page.css")
PARTS = ("#4f86c6", "#59b38c", "#e0a33e", "#b06fbf", "#9aa5b1")
"""Colours of the parts of a bar."""


def page(title: str, body: Iterable[str]) -> str:
    """Return the whole document."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style>"
    )
    text = "\n".join(body)
    body = f"<body><main>{text}</main></body>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>{body}</html>\n'


def section(title: str, *parts: str, note: str = "") -> str:
    """Return a card with a heading and a line that says how to read it."""
    text = f'<p class="soft">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{text}{''.join(parts)}</section>"


def figure(uri: str, title: str, note: str = "", *, aspect: float = 1.0, kind: str = "") -> str:
    """Return a picture with its caption; `kind` is "coarse" for visible pixels, "main" for size."""
    image = (
        f'<img class="{kind}" style="aspect-ratio:{aspect:.4f}" alt="{escape(title)}" src="{uri}">'
    )
    small = f"<small>{escape(note)}</small>" if note else ""
    caption = f"<figcaption>{escape(title)}{small}</figcaption>"
    return f'<figure class="{kind}">{image}{caption}</figure>'


def cards(entries: Iterable[tuple[str, str, str]]) -> str:
    """Return figures as (name, value, what to compare it with)."""
    made = (
        f'<div class="card"><small>{escape(name)}</small><b>{escape(value)}</b>'
        f"<small>{escape(note)}</small></div>"
        for name, value, note in entries
    )
    return f'<div class="cards">{"".join(made)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, mono: int | None = None) -> str:
    """Return a table; cells are text, or HTML where they begin with ``<``."""
    top = "".join(f"<th>{escape(name)}</th>" for name in header)
    lines = []
    for row in rows:
        cells = (
            f"<td{' class=mono' if i == mono else ''}>{c if c.startswith('<') else escape(c)}</td>"
            for i, c in enumerate(row)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    head = f"<thead><tr>{top}</tr></thead>" if header else ""
    return f'<div class="scroll"><table>{head}<tbody>{"".join(lines)}</tbody></table></div>'


def gallery(names: Sequence[str], tiles: Sequence[tuple[str, Sequence[str], float]]) -> str:
    """Return tabs that change all tiles: captions, one picture per name, aspect."""
    tabs = "".join(
        f'<input type="radio" name="show" id="show{i}"{" checked" if i == 0 else ""}>'
        f'<label for="show{i}">{escape(name)}</label>'
        for i, name in enumerate(names)
    )
    figures = []
    for caption, uris, aspect in tiles:
        images = "".join(
            f'<img class="show{i}" style="aspect-ratio:{aspect:.4f}" loading="lazy" '
            f'alt="{escape(f"{names[i]}, {caption}")}" src="{uri}">'
            for i, uri in enumerate(uris)
        )
        figures.append(f"<figure>{images}<figcaption>{escape(caption)}</figcaption></figure>")
    return f'<div class="gallery">{tabs}<div class="tiles">{"".join(figures)}</div></div>'


def bar(parts: dict[str, float], unit: str) -> str:
    """Return the parts of a whole as a bar with its legend."""
    total = sum(parts.values()) or 1.0
    spans, names = [], []
    for (name, value), color in zip(parts.items(), PARTS * (1 + len(parts)), strict=False):
        spans.append(f'<span style="width:{100 * value / total:.2f}%;background:{color}"></span>')
        names.append(
            f'<span><i style="background:{color}"></i>{escape(name)} {value:.2f} {unit}</span>'
        )
    return f'<div class="bar">{"".join(spans)}</div><div class="legend">{"".join(names)}</div>'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return (colour, meaning) as a line."""
    made = (f'<span><i style="background:{c}"></i>{escape(text)}</span>' for c, text in entries)
    return f'<div class="legend">{"".join(made)}</div>'


def heat_scale(colors: Sequence[str], low: str, high: str) -> str:
    """Return the scale of a map."""
    gradient = f"linear-gradient(90deg,{','.join(colors)})"
    return (
        f'<div class="heat" style="background:{gradient}"></div>'
        f'<div class="ends"><span>{escape(low)}</span><span>{escape(high)}</span></div>'
    )


def nice_top(value: float) -> float:
    """Return the next number above whose quarters are easy to read: 1, 2, 4 or 8 times 10^n."""
    if not (value > 0 and math.isfinite(value)):
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(k * unit for k in (1, 2, 4, 8, 10) if k * unit >= 1.02 * value or k == 10)


def line_chart(curves: dict[str, Sequence[float]], colors: Sequence[str]) -> str:
    """Return values by image as dots and lines, from 0; a legend above."""
    width, height, left, bottom = 640, 190, 46, 24
    top = nice_top(max((v for values in curves.values() for v in values), default=0.0))
    n = max(map(len, curves.values()))

    def place(i: int, value: float) -> tuple[float, float]:
        x = left + (width - left - 12) * (i / (n - 1) if n > 1 else 0.5)
        return x, 8 + (height - bottom - 8) * (1 - value / top)

    marks = []
    for k in range(5):
        value = top * k / 4
        y = place(0, value)[1]
        marks.append(
            f'<line x1="{left}" x2="{width - 8}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    for color, values in zip(colors, curves.values(), strict=True):
        points = [place(i, v) for i, v in enumerate(values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in points]
    ends = ((0, "1"), ((n - 1) // 2, "image"), (n - 1, str(n)))
    marks += [
        f'<text x="{place(i, 0)[0]:.1f}" y="{height - 6}" text-anchor="middle">{text}</text>'
        for i, text in ends
    ]
    names = legend(zip(colors, curves, strict=True))
    return f'{names}<svg viewBox="0 0 {width} {height}" role="img">{"".join(marks)}</svg>'
