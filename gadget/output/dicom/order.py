"""Numbers the images of a series in time: dynamics, sets, cardiac phases, averages."""

from collections import Counter
from collections.abc import Sequence

from gadget.output.series.planes import Plane


def temporal_positions(planes: Sequence[Plane]) -> list[int]:
    """Return the position in time of each plane, from 1; contrasts share their position.

    Planes of one place, slice, contrast and moment, which nothing else distinguishes, follow each
    other. Slices that share a place, for lack of positions, are no positions in time.
    """
    n_seen: Counter = Counter()
    moments = []
    for plane in planes:
        which = (plane.counters["slice"], plane.counters["contrast"])
        where = (plane.orientation, plane.place, *which, plane.moment)
        moments.append((*plane.moment, n_seen[where]))
        n_seen[where] += 1
    return ranks(moments)


def ranks(values: Sequence) -> list[int]:
    """Return the rank of each value among the different ones, from 1."""
    known = {value: i for i, value in enumerate(sorted(set(values)), 1)}
    return [known[value] for value in values]
