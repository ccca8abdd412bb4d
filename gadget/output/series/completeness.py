"""Finds volumes of a series that lack slices, as after an interrupted repetition.

Viewers and converters distribute the images of a series over an even grid of places and times. An
image of an incomplete volume would move all later ones, so such images form a separate series.
"""

from collections import defaultdict
from collections.abc import Sequence

from jrsr_core.mrd.planning.volumes import incomplete

from .planes import Plane


def in_incomplete_volumes(planes: Sequence[Plane]) -> list[int]:
    """Return the indices of the planes that belong to incomplete volumes.

    A volume has the planes of one grid, moment and contrast.
    """
    kinds: dict[tuple, dict[tuple, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, plane in enumerate(planes):
        kinds[plane.grid][(*plane.moment, plane.counters["contrast"])].append(i)
    found: list[int] = []
    for volumes in kinds.values():
        places = {key: {planes[i].place for i in volume} for key, volume in volumes.items()}
        found += [i for key in incomplete(places) for i in volumes[key]]
    return sorted(found)
