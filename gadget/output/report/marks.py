"""What the report writes on fallback images, and reads there again."""

import re
from pathlib import Path

COUNT = re.compile(r">\d+ of \d+ are fallback images<")
"""A `fallback_mark` as the whole text of an element of the page."""


def fallback_mark(n_fallback: int, n_images: int) -> str:
    """Return how many images of a scan are fallback images."""
    return f"{n_fallback} of {n_images} are fallback images"


def has_fallback_images(path: Path) -> bool:
    """Tell whether a report counts fallback images."""
    return bool(COUNT.search(path.read_text(encoding="utf-8")))
