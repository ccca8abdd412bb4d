"""Unknown names and hints about their spelling; numbers with their noun."""

import difflib
from collections.abc import Iterable

MAX_LISTED = 10
"""Known names that a message lists; of more it lists the most similar ones."""

N_NEAREST = 3


class UnknownName(ValueError):
    """A name that nothing has, such as that of a model; one line with the likely spelling."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the likely spelling, or the known names.

    One of ``", did you mean 'brain-5x'?"``, ``", known: brain-5x, wall-16x"``, and the most similar
    ones of many: ``", nearest of 28: jrsr, sr, recon"``.
    """
    names = list(known)
    similar = difflib.get_close_matches(name, names, n=N_NEAREST, cutoff=0.0)
    if difflib.get_close_matches(name, similar, n=1, cutoff=0.6):
        return f", did you mean {similar[0]!r}?"
    if len(names) > MAX_LISTED:
        return f", nearest of {len(names)}: {', '.join(similar)}"
    return f", known: {', '.join(names)}"


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, which takes an s unless there is one: "1 coil", "0 coils"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
