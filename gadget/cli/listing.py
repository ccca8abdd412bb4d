"""Commands that list settings and models."""

import json
import textwrap
from typing import Annotated, Any

import typer

from gadget.console import print_line, print_warning
from gadget.errors import Exit
from gadget.settings import Settings
from jrsr_core.validation import expected

from .options import app

AsJson = Annotated[bool, typer.Option("--json", help="Print the JSON schema of the settings.")]


@app.command()
def settings(as_json: AsJson = False) -> int:
    """List all settings: default, accepted values and meaning.

    They are the same for --set, for <property> elements and for MRD clients.
    """
    if as_json:
        for line in json.dumps(Settings.json_schema(), indent=2).splitlines():
            print_line(line)
        return Exit.DONE
    for name, field in Settings.model_fields.items():
        print_line(f"{name}={str(field.default).lower()}  ({expected(field)})")
        for line in textwrap.wrap(field.description or "", 88):
            print_line(f"    {line}")
    return Exit.DONE


@app.command()
def models() -> int:
    """List shipped and local weights, verified against their cards."""
    from jrsr_core.weights.find import list_weights

    cards = list_weights()
    for card in cards:
        print_line(f"{card.model} {card.preset}: sha256 {card.sha256[:16]}, {card.licence}")
        print_line(f"  trained on {card.data or 'unnamed data'}; {card.intended_use}")
        for protocol, figures in card.metrics.items():
            print_line(f"  {protocol}: {_figures(figures)}")
    if not cards:
        print_warning("no weights found")
    return Exit.DONE


def _figures(value: Any) -> str:
    """Return the metrics of a card, which may be nested, on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_figures(figure)}" for name, figure in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
