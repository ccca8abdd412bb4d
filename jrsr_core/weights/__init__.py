"""Trained weights and the cards that describe them.

A card is a JSON file beside a safetensors file. Nothing is unpickled; a card whose hash or
architecture does not match is refused, never repaired.
"""

from typing import TYPE_CHECKING

from jrsr_core.lazy import lazy_names

from .card import CardError, WeightsCard
from .find import find_card, find_system, list_weights, shipped_folder, system_cards, system_name

if TYPE_CHECKING:
    from .load import LoadedSystem, load_system, load_weights, save_weights
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        dict.fromkeys(("LoadedSystem", "load_system", "load_weights", "save_weights"), "load"),
    )

__all__ = [
    "CardError",
    "LoadedSystem",
    "WeightsCard",
    "find_card",
    "find_system",
    "list_weights",
    "load_system",
    "load_weights",
    "save_weights",
    "shipped_folder",
    "system_cards",
    "system_name",
]
