"""Sentences about channels that are not used, or get less weight; they warn of the images."""

from collections.abc import Iterable, Sequence


def broken_note(channels: Iterable[int]) -> str:
    """Return the note about channels with samples that are not finite."""
    return f"channels with NaN or infinite samples are not used: {_numbers(channels)}"


def silent_note(channels: Iterable[int]) -> str:
    """Return the note about channels whose noise is zero."""
    return f"channels without noise are not used: {_numbers(channels)}"


def dependent_note(channels: Iterable[int]) -> str:
    """Return the note about channels whose noise is a combination of that of others."""
    return f"channels whose noise is that of others (copies) are not used: {_numbers(channels)}"


def loud_note(channels: Sequence[int], weights: Sequence[float]) -> str:
    """Return the note about channels whose noise is far above that of the others."""
    loud = [(c, 1 / w) for c, w in zip(channels, weights, strict=True) if w < 1]
    found = ", ".join(f"{c} ({ratio:.0f} times)" for c, ratio in loud)
    return f"channels noisier than the others, without noise data, are given less weight: {found}"


def _numbers(channels: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(channels)))
