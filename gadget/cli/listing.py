"""Commands that list what there is: settings, models."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from gadget.console import complain, say
from gadget.errors import Exit
from gadget.settings import Settings

from .options import app


@app.command()
def settings() -> int:
    """List all properties of --set, of <property> and of MRD clients, with their defaults."""
    from .listing import settings_lines

    for line in settings_lines():
        say(line)
    return Exit.DONE


@app.command()
def models() -> int:
    """List shipped and local weights, verified against their cards."""
    from jrsr_core.weights import list_weights

    cards = list_weights()
    for card in cards:
        say(f"{card.model} {card.preset}: sha256 {card.sha256[:16]}, {card.licence}")
        say(f"  trained on {card.data or 'unnamed data'}; {card.intended_use}")
        for protocol, figures in card.metrics.items():
            say(f"  {protocol}: {_figures(figures)}")
    if not cards:
        complain("no weights found")
    return Exit.DONE


def _figures(value: Any) -> str:
    """Metrics of a card, which may nest, on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_figures(figure)}" for name, figure in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# FOLDED gadget/settings_help.py: What `jrsr settings` prints: every property, from the documentation of `Settings` itself.
def settings_lines() -> Iterator[str]:
    """Yield names and defaults, and below them what they mean."""
    defaults = {f.name: f.default for f in fields(Settings)}
    for names, text in documented():
        shown = (f"{name}={str(defaults[name]).lower()}" for name in names)
        yield "  ".join(shown)
        yield from textwrap.wrap(text, 92, initial_indent="    ", subsequent_indent="    ")


def documented() -> list[tuple[list[str], str]]:
    """Return (names, meaning) of the section Attributes."""
    text = textwrap.dedent("    " + (Settings.__doc__ or "")).partition("----------\n")[2]
    found: list[tuple[list[str], str]] = []
    for line in text.splitlines():
        if re.match(r"[a-z]", line):
            found.append((line.split(", "), ""))
        elif line.strip():
            names, so_far = found[-1]
            found[-1] = (names, f"{so_far} {line.strip()}".strip())
    return found
