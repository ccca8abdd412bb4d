"""Sorts planes into stacks: parallel slices of one voxel grid, evenly apart, over time.

Slices that do not lie on one even grid, such as two groups of parallel slices or the slabs of a
scan, form a stack for each grid: a file has one distance of its slices.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jrsr_core.data import nifti_affine

from .even_runs import even_runs, step_of
from .layers import layers
from .planes import Plane
from .store import PlaneStore, Series

FRAMES = ("repetition", "set", "phase", "contrast", "average")
"""Counters that order the frames of a stack, the slowest first."""

TOLERANCE = 0.01
"""Relative unevenness of the slice distances that is attributed to rounding."""

SAME_COLUMN_MM = 0.1
"""Rounding of the offsets of slices within their plane."""

Frames = list[list[Plane]]
"""Planes ``[frame][slice]``."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes of one orientation, matrix and voxel size.

    Attributes
    ----------
    frames
        Planes ``[frame][slice]`` without pixels.
    step
        Vector from one slice to the next, mm.
    unevenness
        Largest deviation of a slice from the even grid, relative to the length of `step`.
    """

    frames: Frames
    step: np.ndarray
    unevenness: float

    @property
    def affine(self) -> np.ndarray:
        """Matrix ``(4, 4)`` from voxel ``(x, y, z)`` to mm in NIfTI's coordinates (R, A, S)."""
        plane = self.frames[0][0]
        dy, dx = plane.spacing
        return nifti_affine(dx * plane.row, dy * plane.column, self.step, plane.first)

    @property
    def is_even(self) -> bool:
        """Whether the slices lie on an even grid."""
        return self.unevenness <= TOLERANCE


def stacks_of(series: Series, store: PlaneStore) -> list[tuple[Stack, np.ndarray]]:
    """Return the stacks of a series, usually one, with values float32 ``(x, y, z[, frame])``."""
    return [_stack(frames) for frames in divided(list(store.planes(series)))]


def divided(planes: Sequence[Plane]) -> list[Frames]:
    """Return the planes of a series as even stacks."""
    ordered = sorted(planes, key=lambda p: (p.grid, _frame(p), p.location, p.number))
    by_grid = itertools.groupby(ordered, key=lambda p: p.grid)
    return [frames for _, same in by_grid for frames in _fewest_stacks(list(same))]


def _fewest_stacks(planes: list[Plane]) -> list[Frames]:
    """Return planes of one orientation, matrix and voxel size as even stacks.

    Groups of slices may interleave along their normal: each group is a volume of its own then, or
    has its own offset within the plane. The division that gives the fewest stacks is taken.
    """
    whole = list(_even_stacks(planes, lambda _: 0))
    if len(whole) == 1:
        return whole
    slabs, groups = (list(_even_stacks(planes, way)) for way in (_slab, _offset))
    return min(slabs, whole, groups, key=len)


def _even_stacks(planes: list[Plane], way: Callable[[Plane], Hashable]) -> Iterator[Frames]:
    """Yield the even stacks of each group of planes that the key `way` gives."""
    groups: dict[Hashable, list[Plane]] = {}
    for plane in planes:
        groups.setdefault(way(plane), []).append(plane)
    for group in groups.values():
        numbers = layers(group)
        for layer in sorted(set(numbers)):
            one = [plane for plane, n in zip(group, numbers, strict=True) if n == layer]
            yield from _stacks_over_time(one)


def _stacks_over_time(planes: list[Plane]) -> Iterator[Frames]:
    frames = [
        frame
        for _, group in itertools.groupby(planes, key=_frame)
        for frame in _each_place_once(list(group))
    ]
    # Frames with fewer slices, as after an interrupted repetition, form a separate stack.
    for _, alike in itertools.groupby(frames, key=lambda f: [p.place for p in f]):
        same_places = list(alike)
        for run in even_runs(np.array([p.first for p in same_places[0]])):
            yield [frame[run] for frame in same_places]


def _each_place_once(planes: list[Plane]) -> Frames:
    """Distribute planes of equal counters over frames so that no place occurs twice in one."""
    frames: Frames = []
    n_seen: Counter = Counter()
    for plane in planes:
        n = n_seen[plane.place]
        n_seen[plane.place] += 1
        if n == len(frames):
            frames.append([])
        frames[n].append(plane)
    return frames


def _stack(frames: Frames) -> tuple[Stack, np.ndarray]:
    values = np.stack([[p.pixels for p in frame] for frame in frames])
    step, unevenness = _step(frames[0])
    planes = [[p.without_pixels() for p in frame] for frame in frames]
    values = values.transpose(3, 2, 1, 0)
    return Stack(planes, step, unevenness), values[..., 0] if len(frames) == 1 else values


def _step(planes: list[Plane]) -> tuple[np.ndarray, float]:
    """Return `Stack.step` and `Stack.unevenness` of the slices of a frame."""
    first = planes[0]
    if len(planes) == 1:
        return first.thickness * first.normal, 0.0
    return step_of(np.array([p.first for p in planes]))


def _frame(plane: Plane) -> tuple[int, ...]:
    return tuple(plane.counters[name] for name in FRAMES)


def _offset(plane: Plane) -> Hashable:
    offsets = (plane.first @ plane.row, plane.first @ plane.column)
    return tuple(round(float(mm) / SAME_COLUMN_MM) for mm in offsets)


def _slab(plane: Plane) -> Hashable:
    return 0 if plane.step is None else plane.counters["slice"]
