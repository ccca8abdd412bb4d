"""Describes all frames of an Enhanced MR image in one text, since a file has one comment."""

from collections import defaultdict
from collections.abc import Sequence

from gadget.output.series.attributes import texts_of
from gadget.output.series.planes import Plane
from jrsr_core.mrd.images import FALLBACK_IMAGE

from .classic import comments, warnings
from .marks import research_text

MAX_NUMBERS = 20
"""Frames that are listed for one reason."""


def frame_comments(planes: Sequence[Plane]) -> str:
    """Return every different statement, fallback reason with its frames, comment and warning."""
    texts = [research_text(plane) for plane in planes]
    texts += _fallback_texts(planes)
    for plane in planes:
        if not plane.is_fallback:
            texts += texts_of(plane.meta.get("ImageComment"))
    for plane in planes:
        texts += warnings(plane)
    return comments(list(dict.fromkeys(texts)))


def _fallback_texts(planes: Sequence[Plane]) -> list[str]:
    frames: dict[str, list[int]] = defaultdict(list)
    for number, plane in enumerate(planes, 1):
        if plane.is_fallback:
            frames[plane.meta["JRSR_fallback"]].append(number)
    return [f"{FALLBACK_IMAGE}: {_listed(numbers)}: {reason}" for reason, numbers in frames.items()]


def _listed(numbers: Sequence[int]) -> str:
    """Return ``frame 3`` or ``frames 3, 5``, with the number of those beyond `MAX_NUMBERS`."""
    shown = ", ".join(map(str, numbers[:MAX_NUMBERS]))
    n_more = len(numbers) - MAX_NUMBERS
    return f"frame{'s' * (len(numbers) > 1)} {shown}" + (f" and {n_more} more" * (n_more > 0))
