"""Tells apart images of different slices that lie at one place, for lack of positions or stations.

They are no frames of one place: what differs between them is not the time.
"""

from collections import defaultdict
from collections.abc import Sequence

from .planes import Plane


def layers(planes: Sequence[Plane]) -> list[int]:
    """Return the layer of each plane, from 0: the rank of its slice among those of its place."""
    found: dict[tuple, set[int]] = defaultdict(set)
    for plane in planes:
        found[plane.orientation, plane.place].add(plane.counters["slice"])
    ranks = {
        (*place, number): rank
        for place, numbers in found.items()
        for rank, number in enumerate(sorted(numbers))
    }
    return [ranks[p.orientation, p.place, p.counters["slice"]] for p in planes]
