"""Planes -> stacks: parallel slices of one matrix on an even grid, over time, as NIfTI wants them.

world(i, j, k) = first + i dx row + j dy column + k step        (mm, DICOM coordinates L, P, S)
"""

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np

from .planes import Plane
from .store import EMPTY, PlaneStore, Series

FRAMES = ("repetition", "set", "phase", "contrast", "average")
TOLERANCE = 0.01
"""Relative unevenness of the slice distances that counts as rounding."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes ``[frame][slice]`` without pixels; `unevenness` is relative to the mean distance."""

    frames: list[list[Plane]]
    step: np.ndarray
    unevenness: float

    @property
    def affine(self) -> np.ndarray:
        """Voxel ``(x, y, z)`` to mm in NIfTI's coordinates (R, A, S)."""
        plane = self.frames[0][0]
        dy, dx = plane.spacing
        matrix = np.eye(4)
        matrix[:3] = np.stack((dx * plane.row, dy * plane.column, self.step, plane.first), axis=1)
        return np.diag((-1.0, -1.0, 1.0, 1.0)) @ matrix

    @property
    def is_even(self) -> bool:
        """Whether the slices lie on the grid."""
        return self.unevenness <= TOLERANCE


def stacks_of(series: Series, store: PlaneStore) -> list[tuple[Stack, np.ndarray]]:
    """Return stacks and their values float32 ``(x, y, z[, frame])``; usually one."""
    planes = list(store.planes(series))
    planes.sort(key=lambda p: (_orientation(p), p.pixels.shape, _frame(p), p.location, p.number))
    found = []
    for _, same in itertools.groupby(planes, key=lambda p: (_orientation(p), p.pixels.shape)):
        groups = (list(group) for _, group in itertools.groupby(same, key=_frame))
        frames = [frame for group in groups for frame in _each_place_once(group)]
        # Frames of fewer slices, as after an interrupted repetition, are stacks of their own.
        for _, alike in itertools.groupby(frames, key=lambda f: [_place(p) for p in f]):
            found.append(_stack(list(alike)))
    return found


def _each_place_once(planes: list[Plane]) -> list[list[Plane]]:
    """Part planes that share all counters and a place: each is in a frame of its own."""
    frames: list[list[Plane]] = []
    n_seen: Counter = Counter()
    for plane in planes:
        n = n_seen[_place(plane)]
        n_seen[_place(plane)] += 1
        if n == len(frames):
            frames.append([])
        frames[n].append(plane)
    return frames


def _stack(frames: list[list[Plane]]) -> tuple[Stack, np.ndarray]:
    values = np.stack([[p.pixels for p in frame] for frame in frames])
    step, unevenness = _step(frames[0])
    heads = [[_without_pixels(p) for p in frame] for frame in frames]
    values = values.transpose(3, 2, 1, 0)
    return Stack(heads, step, unevenness), values[..., 0] if len(frames) == 1 else values


def _step(planes: list[Plane]) -> tuple[np.ndarray, float]:
    """Vector from one slice to the next, and how far single ones are off, relative to it."""
    first = planes[0]
    if len(planes) == 1:
        return first.thickness * first.normal, 0.0
    places = np.array([p.first for p in planes])
    step = (places[-1] - places[0]) / (len(planes) - 1)
    off = places - places[0] - np.arange(len(planes))[:, None] * step
    length = float(np.linalg.norm(step))
    return step, float(np.linalg.norm(off, axis=1).max()) / max(length, 1e-9)


def _without_pixels(plane: Plane) -> Plane:
    return Plane(**(vars(plane) | {"pixels": EMPTY}))


def _orientation(plane: Plane) -> tuple:
    return tuple(np.round((*plane.row, *plane.column), 4) + 0.0)


def _frame(plane: Plane) -> tuple[int, ...]:
    return tuple(plane.counters[name] for name in FRAMES)


def _place(plane: Plane) -> tuple:
    return tuple(np.round(plane.first, 2) + 0.0)
