"""Numbers the images of a series in time: dynamics, sets, cardiac phases, averages."""

from collections import Counter
from collections.abc import Sequence

from gadget.output.planes import Plane


def temporal_positions(planes: Sequence[Plane]) -> list[int]:
    """Return the position in time of each plane, from 1; contrasts share their position.

    Planes of one place, contrast and moment, which nothing else distinguishes, follow each other.
    """
    n_seen: Counter = Counter()
    moments = []
    for plane in planes:
        where = (plane.orientation, plane.place, plane.counters["contrast"], plane.moment)
        moments.append((*plane.moment, n_seen[where]))
        n_seen[where] += 1
    return ranks(moments)


def ranks(values: Sequence) -> list[int]:
    """Return the rank of each value among the different ones, from 1."""
    known = {value: i for i, value in enumerate(sorted(set(values)), 1)}
    return [known[value] for value in values]
