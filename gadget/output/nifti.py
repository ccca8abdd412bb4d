"""The NIfTI files of a scan: one per stack of slices, with the geometry of the image headers."""

import gzip
import itertools
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from gadget.console import print_warning
from gadget.errors import UsageError
from jrsr_core.atomic import check_target, whole_file

from .planes import EMPTY, Plane, PlaneStore, Series, planes_of

# FOLDED gadget/export/stacks.py: Planes -> stacks: parallel slices of one matrix on an even grid, over time, as NIfTI wants them.
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


SUFFIX = ".nii.gz"
SCANNER = 1
"""NIfTI's code for coordinates of the scanner."""


def require_nibabel() -> None:
    """Raise `UsageError` where the optional library is missing."""
    try:
        import nibabel  # noqa: F401
    except ImportError:
        raise UsageError(
            'format nifti needs nibabel: pip install "gadgetron-jrsr[nifti]"'
        ) from None


class NiftiWriter:
    """Context manager that leaves ``path`` for the first stack, and numbered files beside it.

    Further series and orientations go to ``<name>_series<n>[_stack<m>].nii.gz``.

    Raises
    ------
    UsageError
        nibabel is not installed.
    FileExistsError
        One of the files exists and `overwrite` is False.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        require_nibabel()
        self.path = path
        self._overwrite = overwrite
        for target in (path, *self._further()):
            check_target(target, overwrite=overwrite)
        self._store = PlaneStore(path.parent)

    def _further(self) -> list[Path]:
        """Files of an earlier run beside the first one."""
        return sorted(self.path.parent.glob(f"{self._stem}_series*{SUFFIX}"))

    @property
    def _stem(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    def write_image(self, mrd, group: str = "") -> None:
        """Keep the planes of an image."""
        for plane in planes_of(mrd, group):
            self._store.add(plane)

    def _save_all(self) -> None:
        with ExitStack() as files:
            target, is_first = self.path, True
            for series in self._store.finished():
                for m, (stack, values) in enumerate(stacks_of(series, self._store), 1):
                    if not is_first:
                        target = self._target(series.number, m)
                    save(
                        files.enter_context(whole_file(target, overwrite=self._overwrite)),
                        stack,
                        values,
                    )
                    is_first = False
            for stale in self._further():
                stale.unlink()

    def _target(self, series: int, stack: int) -> Path:
        name = f"{self._stem}_series{series}" + (f"_stack{stack}" if stack > 1 else "")
        return self.path.with_name(name + SUFFIX)

    def __enter__(self) -> "NiftiWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._save_all()
        finally:
            self._store.close()


def save(path: Path, stack: Stack, values: np.ndarray) -> None:
    """Write one file; sform and qform are set, the latter where axes are perpendicular."""
    import nibabel

    if not stack.is_even:
        print_warning(
            f"slice distances differ by {100 * stack.unevenness:.0f} %: NIfTI has their mean"
        )
    image = nibabel.Nifti1Image(values, None)
    image.set_sform(stack.affine, SCANNER)
    axes = stack.affine[:3, :3] / np.linalg.norm(stack.affine[:3, :3], axis=0)
    is_sheared = not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3)
    image.set_qform(None if is_sheared else stack.affine, 0 if is_sheared else SCANNER)
    # How long a frame lasts is not in the image headers: the unit of time stays unknown.
    image.header.set_xyzt_units("mm")
    meta = stack.frames[0][0].meta
    weights = meta.get("JRSR_weights_sha256", "")[:12]
    image.header["descrip"] = f"JRSR {meta.get('JRSR_model', '')} {weights}".strip()[:79]
    # Without a time stamp in it, a replay gives the same file.
    path.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
