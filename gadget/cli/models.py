"""The command `jrsr models`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gadget.console import print_json, print_line
from gadget.errors import Exit
from gadget.settings import Settings
from jrsr_core.models.names import MODEL_NAMES, has_weights
from jrsr_core.weights.sets import DEFAULT_SET, SEPARATOR, list_shipped

from . import completion
from .options import AsJson, app

if TYPE_CHECKING:
    from jrsr_core.weights.card import WeightsCard

DEFAULT = Settings.model_fields["model"].default
INSTALLED, NEEDS_NONE, ABSENT = "installed", "needs none", "not shipped"
FIGURES = {"PSNR/dB": ("psnr", 2), "SSIM": ("ssim", 3), "LPIPS": ("lpips", 3)}
"""Heading -> name on the card and digits."""

HEADINGS = ("model", "weights", "size", *FIGURES, "protocol", "samples")


@app.command()
def models(
    name: Annotated[
        str,
        typer.Argument(
            help="Print the cards of this model; without one, a table of all models.",
            autocompletion=completion.models,
        ),
    ] = "",
    as_json: AsJson = False,
) -> int:
    """List the models: which is the default, which need no weights, which are installed.

    Installed weights are verified against their cards. NAME@SET takes those of a set.
    """
    cards = list_shipped()
    if name:
        return _print_model(name, as_json=as_json)
    if as_json:
        print_json([_as_json(known, cards.get(known)) for known in _names(cards)])
        return Exit.DONE
    rows = [HEADINGS, *(_row(known, cards.get(known)) for known in _names(cards))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    for row in rows:
        print_line("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip())
    return Exit.DONE


def _names(cards: dict[str, "WeightsCard"]) -> list[str]:
    """Return the default, then models with weights, without, and those that are not installed."""
    first = [DEFAULT, *cards]
    without = [name for name in MODEL_NAMES if not has_weights(name)]
    return list(dict.fromkeys([*first, *without, *MODEL_NAMES]))


def _weights(name: str, card: "WeightsCard | None") -> str:
    if not has_weights(name.partition(SEPARATOR)[0]):
        return NEEDS_NONE
    return INSTALLED if card is not None or _cards(name) else ABSENT


def _cards(name: str) -> "tuple[WeightsCard, ...]":
    """Return the installed cards of a model and of its parts; none if one is missing."""
    from jrsr_core.weights.card import CardError
    from jrsr_core.weights.find import system_cards

    try:
        return system_cards(name)
    except CardError:
        return ()


def _row(name: str, card: "WeightsCard | None") -> tuple[str, ...]:
    shown = f"{name} (default)" if name == DEFAULT else name
    if card is None:
        kind = _weights(name, card)
        shown_kind = f"{SEPARATOR}{DEFAULT_SET}" if kind == INSTALLED else kind
        return (shown, shown_kind, *[""] * (len(HEADINGS) - 2))
    protocol, figures = next(iter(card.own_metrics.items()), ("", {}))
    known = ((figures.get(key), digits) for key, digits in FIGURES.values())
    numbers = ["" if value is None else f"{value:.{digits}f}" for value, digits in known]
    samples = str(card.training.get("samples_seen", ""))
    return (shown, _weights(name, card), card.preset, *numbers, protocol, samples)


def _as_json(name: str, card: "WeightsCard | None") -> dict[str, Any]:
    entry: dict[str, Any] = {"model": name, "default": name == DEFAULT}
    entry["weights"] = _weights(name, card)
    if card is not None:
        entry |= card.model_dump(mode="json", include={"preset", "sha256", "licence", "data"})
        entry |= {"metrics": card.own_metrics, "samples_seen": card.training.get("samples_seen")}
    return entry


def _print_model(name: str, *, as_json: bool) -> int:
    """Print the cards of a model; raises as `check_model`."""
    from gadget.compute.model import check_model
    from jrsr_core.weights.find import system_cards

    check_model(Settings(model=name))
    cards = system_cards(name)
    if as_json:
        print_json([card.model_dump(mode="json") for card in cards])
        return Exit.DONE
    if not cards:
        print_line(f"{name}: {NEEDS_NONE} of weights")
    for card in cards:
        print_line(f"{card.model} {card.preset}: sha256 {card.sha256[:16]}, {card.licence}")
        print_line(f"  trained on {card.data or 'unnamed data'}; {card.intended_use}")
        samples = card.training.get("samples_seen", "unknown")
        for protocol, figures in card.own_metrics.items():
            numbers = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
            print_line(f"  {protocol}, {samples} samples seen: {numbers}")
    return Exit.DONE
