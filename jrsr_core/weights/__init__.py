"""Trained weights and the cards that say what they are.

A card is a JSON file beside a safetensors file. Nothing is unpickled; a card whose hash or
architecture does not match is refused, never repaired.
"""

from .card import CardError, WeightsCard
from .store import find_card, list_weights, load_weights, save_weights, shipped_folder
from .systems import LoadedSystem, find_system, load_system, system_cards, system_name

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
