"""Sorts planes into stacks for NIfTI: parallel slices of one matrix on an even grid, over time."""

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np

from .planes import Plane
from .series import PlaneStore, Series

FRAMES = ("repetition", "set", "phase", "contrast", "average")
"""Counters that order the frames of a stack, the slowest first."""

TOLERANCE = 0.01
"""Relative unevenness of the slice distances that is attributed to rounding."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes of one orientation and matrix.

    Attributes
    ----------
    frames
        Planes ``[frame][slice]`` without pixels.
    step
        Vector from one slice to the next, mm.
    unevenness
        Largest deviation of a slice from the even grid, relative to the length of `step`.
    """

    frames: list[list[Plane]]
    step: np.ndarray
    unevenness: float

    @property
    def affine(self) -> np.ndarray:
        """Matrix ``(4, 4)`` from voxel ``(x, y, z)`` to mm in NIfTI's coordinates (R, A, S)."""
        plane = self.frames[0][0]
        dy, dx = plane.spacing
        matrix = np.eye(4)
        matrix[:3] = np.stack((dx * plane.row, dy * plane.column, self.step, plane.first), axis=1)
        return np.diag((-1.0, -1.0, 1.0, 1.0)) @ matrix

    @property
    def is_even(self) -> bool:
        """Whether the slices lie on an even grid."""
        return self.unevenness <= TOLERANCE


def stacks_of(series: Series, store: PlaneStore) -> list[tuple[Stack, np.ndarray]]:
    """Return the stacks of a series, usually one, with values float32 ``(x, y, z[, frame])``."""
    planes = list(store.planes(series))
    planes.sort(key=lambda p: (p.orientation, p.pixels.shape, _frame(p), p.location, p.number))
    found = []
    for _, same in itertools.groupby(planes, key=lambda p: (p.orientation, p.pixels.shape)):
        groups = (list(group) for _, group in itertools.groupby(same, key=_frame))
        frames = [frame for group in groups for frame in _each_place_once(group)]
        # Frames with fewer slices, as after an interrupted repetition, form a separate stack.
        for _, alike in itertools.groupby(frames, key=lambda f: [p.place for p in f]):
            found.append(_stack(list(alike)))
    return found


def _each_place_once(planes: list[Plane]) -> list[list[Plane]]:
    """Distribute planes of equal counters over frames so that no place occurs twice in one."""
    frames: list[list[Plane]] = []
    n_seen: Counter = Counter()
    for plane in planes:
        n = n_seen[plane.place]
        n_seen[plane.place] += 1
        if n == len(frames):
            frames.append([])
        frames[n].append(plane)
    return frames


def _stack(frames: list[list[Plane]]) -> tuple[Stack, np.ndarray]:
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
    places = np.array([p.first for p in planes])
    step = (places[-1] - places[0]) / (len(planes) - 1)
    off = places - places[0] - np.arange(len(planes))[:, None] * step
    length = float(np.linalg.norm(step))
    return step, float(np.linalg.norm(off, axis=1).max()) / max(length, 1e-9)


def _frame(plane: Plane) -> tuple[int, ...]:
    return tuple(plane.counters[name] for name in FRAMES)
