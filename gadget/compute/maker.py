"""The model of the settings as the headers of its images name it; found without torch."""

from typing import NamedTuple

from gadget.settings import Settings
from jrsr_core.weights.find import cards_of, find_system, full_name

N_SHOWN = 12
"""Characters of a hash that a message shows."""


class Maker(NamedTuple):
    """Name of a model, and the SHA-256 of its weights or the beginning of it; empty without."""

    model: str
    weights: str = ""

    def is_stated_by(self, stated: "Maker") -> bool:
        """Return whether `stated`, whose hash may be cut, is this model with these weights."""
        has_weights = bool(self.weights) == bool(stated.weights)
        is_same = self.model == stated.model and self.weights.startswith(stated.weights)
        return has_weights and is_same

    def __str__(self) -> str:
        return f"{self.model} (weights {self.weights[:N_SHOWN]})" if self.weights else self.model


def makers(settings: Settings) -> list[Maker]:
    """Return the model of the settings; several where its size depends on the device.

    Raises
    ------
    ValueError
        As `find_system`.
    """
    presets = ("auto", "largest") if settings.preset == "auto" else (settings.preset,)
    return list(dict.fromkeys(_maker(settings, preset) for preset in presets))


def _maker(settings: Settings, preset: str) -> Maker:
    parts = find_system(settings.model, preset=preset, weights=settings.weights)
    hashes = "+".join(card.sha256 for card in cards_of(parts))
    return Maker(full_name(settings.model, parts), hashes)
