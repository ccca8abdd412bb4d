"""Chooses which images of a long scan a picture shows."""

from jrsr_core.common.spelling import counted
from jrsr_core.spread import spread

MAX_TILES = 64
"""Evenly spread images that a picture shows, and fallback images that it shows besides."""


class Shown:
    """Evenly spread images and, besides, fallback images; counts the images that it is given.

    Parameters
    ----------
    n_images
        Images of the scan.
    noun
        What one of them is called.
    """

    def __init__(self, n_images: int, noun: str = "image") -> None:
        self._noun = noun
        self._spread = set(spread(n_images, MAX_TILES))
        self._n_further = self._n_seen = self._n_shown = self._n_fallback = 0

    def takes(self, *, is_fallback: bool) -> bool:
        """Count the next image and return whether the picture shows it."""
        is_spread = self._n_seen in self._spread
        is_further = is_fallback and not is_spread and self._n_further < MAX_TILES
        self._n_further += is_further
        self._n_seen += 1
        self._n_shown += is_spread or is_further
        self._n_fallback += is_fallback
        return is_spread or is_further

    def footer(self, name: str) -> str:
        """Return the line below a picture: its name, how many images it shows, research use."""
        counts = []
        if self._n_shown < self._n_seen:
            counts.append(f"{self._n_shown} of {counted(self._n_seen, self._noun)}")
        if self._n_fallback:
            counts.append(counted(self._n_fallback, f"FALLBACK {self._noun}"))
        return ". ".join(filter(None, (name, ", ".join(counts), "Research use only.")))
