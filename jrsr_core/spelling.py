"""Hints for misspelt names."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the likely spelling, or all names.

    Either ``", did you mean 'brain-5x'?"`` or ``", known: brain-5x, wall-16x"``.
    """
    names = list(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f", did you mean {match[0]!r}?" if match else f", known: {', '.join(names)}"
