"""The command `jrsr models`."""

from typing import Any

from gadget.console import print_line, print_warning
from gadget.errors import Exit

from .options import app


@app.command()
def models() -> int:
    """List shipped weights, verified against their cards: NAME, and NAME@SET for those of a set."""
    from jrsr_core.weights.sets import list_shipped

    cards = list_shipped()
    for name, card in cards.items():
        print_line(f"{name} {card.preset}: sha256 {card.sha256[:16]}, {card.licence}")
        print_line(f"  trained on {card.data or 'unnamed data'}; {card.intended_use}")
        samples = card.training.get("samples_seen", "unknown")
        for protocol, figures in card.own_metrics.items():
            print_line(f"  {protocol}, {samples} samples seen: {_figures(figures)}")
    if not cards:
        print_warning("no weights found")
    return Exit.DONE


def _figures(value: Any) -> str:
    """Return the metrics of a card, which may be nested, on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_figures(figure)}" for name, figure in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
