"""Volumes that lack slices, as the last repetition of a scan that was aborted does.

A volume is incomplete if it lacks a slice that others have while at least one of them has every
slice. The limits of the header alone are no measure: many scanners state more than they send. Where
the last slice that the header states was measured, its limit is right, and slices that no volume
has are missing, as after an abort of interleaved slices. Slices of an even step are a selection.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from jrsr_core.data import Counters
from jrsr_core.data.origin import VOLUME_COUNTERS
from jrsr_core.mrd.header.encoding import Encoding

Key = TypeVar("Key", bound=Hashable)


def incomplete(volumes: Mapping[Key, set]) -> dict[Key, tuple[int, int]]:
    """Return how many places of how many each incomplete volume has; `volumes` are their places."""
    every = set[Hashable]().union(*volumes.values())
    if every not in volumes.values():
        return {}
    n = len(every)
    return {key: (len(places), n) for key, places in volumes.items() if len(places) < n}


def incomplete_volumes(
    images: Iterable[Counters], encodings: Sequence[Encoding] = ()
) -> dict[Counters, str]:
    """Return the images of incomplete volumes, each with a sentence on its volume.

    `encodings` are those of the header, for the number of the last slice.
    """
    spaces: dict[int, list[Counters]] = defaultdict(list)
    for image in images:
        spaces[image.encoding].append(image)
    notes: dict[Counters, str] = {}
    for space, own in spaces.items():
        maxima = encodings[space].counter_maxima if space < len(encodings) else {}
        if gaps := _gaps({image.slice for image in own}, maxima.get("slice")):
            notes |= dict.fromkeys(own, gaps)
        notes |= _of_space(own)
    return notes


def _gaps(slices: set[int], last: int | None) -> str:
    """Return a sentence about slices before the last one that were not measured, if any."""
    present = sorted(slices)
    missing = sorted(set(range(present[-1])) - slices)
    is_selection = len({b - a for a, b in pairwise(present)}) < 2
    if present[-1] != last or not missing or is_selection:
        return ""
    n = len(slices) + len(missing)
    return (
        f"slices before the last one were not measured: {len(slices)} of {n} slices or slabs are "
        f"there, the first one that is missing is slice {missing[0]}"
    )


def _of_space(images: list[Counters]) -> dict[Counters, str]:
    """Return the notes on images of one encoding space."""
    volumes: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for image in images:
        volumes[_volume(image)].add(image.slice)
    differ = [len(set(values)) > 1 for values in zip(*volumes, strict=True)]
    notes = {}
    for key, (n, n_all) in incomplete(volumes).items():
        named = zip(VOLUME_COUNTERS, key, differ, strict=True)
        name = ", ".join(f"{counter} {value}" for counter, value, is_named in named if is_named)
        notes[key] = f"{name} is incomplete: {n} of {n_all} slices or slabs were measured"
    return {image: notes[key] for image in images if (key := _volume(image)) in notes}


def _volume(image: Counters) -> tuple[int, ...]:
    return tuple(getattr(image, name) for name in VOLUME_COUNTERS)
