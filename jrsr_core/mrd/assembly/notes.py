"""Sentences about channels that are not used, or get less weight; they warn of the images."""

from collections.abc import Iterable


def broken_note(channels: Iterable[int]) -> str:
    """Return the note about channels with samples that are not finite."""
    return f"channels with NaN or infinite samples are not used: {_numbers(channels)}"


def silent_note(channels: Iterable[int]) -> str:
    """Return the note about channels whose noise is zero."""
    return f"channels without noise are not used: {_numbers(channels)}"


def dependent_note(channels: Iterable[int]) -> str:
    """Return the note about channels whose noise is a combination of that of others."""
    return f"channels whose noise is that of others (copies) are not used: {_numbers(channels)}"


def _numbers(channels: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(channels)))
