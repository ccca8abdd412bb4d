"""MRD images -> planes in space, the common ground of DICOM and NIfTI.

Only the image header is asked where an image lies. Its `position` is the centre of the field of
view, which the FFT convention puts on index n//2 of every axis; so the centre of the first voxel is

    first = position - (nx//2) dx read - (ny//2) dy phase - (nz//2) dz slice

and plane z of a volume lies z dz further along the slice direction. Lengths in mm, directions are
unit vectors in DICOM patient coordinates (L, P, S).
"""

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import ismrmrd
import numpy as np

from jrsr_core.atomic import scratch_file

COUNTERS = ("slice", "contrast", "phase", "repetition", "set", "average")
MAX_COSINE = 1e-2
"""Largest cosine of read and phase direction that counts as rounding."""

DEFAULT_AXES = np.eye(3)

PARTS = {
    ismrmrd.IMTYPE_PHASE: "PHASE",
    ismrmrd.IMTYPE_REAL: "REAL",
    ismrmrd.IMTYPE_IMAG: "IMAGINARY",
}
"""Parts of a complex image other than its magnitude, in the terms of DICOM."""


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice of an image.

    Attributes
    ----------
    pixels
        float32 ``(y, x)`` in the scanner's own scale; of complex images the magnitude.
    part
        Which part of a complex image it is: MAGNITUDE, or one of `PARTS`.
    first
        Centre of the first voxel.
    row, column, normal
        Directions of growing x, of growing y, and their right-handed normal.
    spacing, thickness
        Pixel ``(y, x)`` and slice, mm.
    step
        Distance of the planes of a volume along its slice direction; None for a 2-D image.
    series, number
        Series of the image, and number of the plane in it, from 1 where the image has one.
    group
        Where in a file the series is, if there is more than one place.
    counters
        By the names of `COUNTERS`.
    meta
        Attributes of the image.
    """

    pixels: np.ndarray
    part: str
    first: np.ndarray
    row: np.ndarray
    column: np.ndarray
    spacing: tuple[float, float]
    thickness: float
    step: float | None
    series: int
    number: int
    group: str
    counters: dict[str, int]
    meta: dict

    @property
    def normal(self) -> np.ndarray:
        """Unit normal of the plane."""
        return np.cross(self.row, self.column)

    @property
    def location(self) -> float:
        """Distance of the plane from the origin along its normal."""
        return float(self.first @ self.normal)

    @property
    def is_fallback(self) -> bool:
        """Whether the model had no part in it."""
        return bool(self.meta.get("JRSR_fallback"))


def planes_of(mrd: ismrmrd.Image, group: str = "") -> Iterator[Plane]:
    """Yield the planes of an image, 2-D or 3-D, of this group of its file.

    Raises
    ------
    ValueError
        Several channels; directions that are not perpendicular, an empty field of view; pixels,
        directions, position or field of view that are not finite.
    """
    head = mrd.getHead()
    volume = _volume(mrd)
    for name in ("field_of_view", "position", "read_dir", "phase_dir", "slice_dir"):
        if not np.isfinite(values := list(getattr(head, name))).all():
            raise ValueError(f"image {head.image_index}: {name} is {values}")
    nz, ny, nx = volume.shape
    fov = [float(v) for v in head.field_of_view]
    if min(fov) <= 0:
        raise ValueError(f"image {head.image_index}: field of view is {fov} mm")
    dx, dy, dz = fov[0] / nx, fov[1] / ny, fov[2] / nz
    read, phase, through = _axes(head)
    first = np.array([float(v) for v in head.position])
    first = first - (nx // 2) * dx * read - (ny // 2) * dy * phase - (nz // 2) * dz * through
    plane = Plane(
        pixels=volume[0],
        part="MAGNITUDE" if np.iscomplexobj(mrd.data) else PARTS.get(head.image_type, "MAGNITUDE"),
        first=first,
        row=read,
        column=phase,
        spacing=(dy, dx),
        thickness=dz,
        step=dz if nz > 1 else None,
        series=int(head.image_series_index),
        number=(int(head.image_index) - 1) * nz + 1,
        group=group,
        counters={name: int(getattr(head, name)) for name in COUNTERS},
        # What was empty comes back from a file as None.
        meta={name: "" if value is None else value for name, value in mrd.meta.items()},
    )
    for z in range(nz):
        yield replace(
            plane, pixels=volume[z], first=first + z * dz * through, number=plane.number + z
        )


def _volume(mrd: ismrmrd.Image) -> np.ndarray:
    """Return the values ``(z, y, x)``, of complex ones the magnitude."""
    head = mrd.getHead()
    if head.channels != 1:
        name = f"image {head.image_index} of series {head.image_series_index}"
        raise ValueError(f"{name} has {head.channels} channels, DICOM and NIfTI take 1")
    values = np.abs(mrd.data[0]) if np.iscomplexobj(mrd.data) else mrd.data[0]
    volume = values.astype(np.float32)
    if not np.isfinite(volume).all():
        raise ValueError(f"image {head.image_index} has pixels that are not finite")
    return volume


def _axes(head: ismrmrd.ImageHeader) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return read, phase and slice direction, orthonormal in float64."""
    read, phase, through = (
        np.array([float(v) for v in getattr(head, name)])
        for name in ("read_dir", "phase_dir", "slice_dir")
    )
    # Simulated files may leave the directions empty: axial then, as every viewer assumes.
    if not read.any() and not phase.any():
        return tuple(DEFAULT_AXES)
    if not (read.any() and phase.any()):
        raise ValueError(f"image {head.image_index}: read_dir is {read}, phase_dir is {phase}")
    read, phase = read / np.linalg.norm(read), phase / np.linalg.norm(phase)
    if abs(read @ phase) > MAX_COSINE:
        raise ValueError(
            f"image {head.image_index}: read_dir and phase_dir are not perpendicular, "
            f"their cosine is {read @ phase:.3f}"
        )
    phase = phase - (phase @ read) * read
    phase /= np.linalg.norm(phase)
    normal = np.cross(read, phase)
    # Left-handed axes occur; planes of a volume then run against the normal.
    return read, phase, -normal if through @ normal < 0 else normal


# FOLDED gadget/export/store.py: Planes of a scan, kept until its last image is in: a series has one scale and one set of UIDs.
EMPTY = np.zeros((0, 0), np.float32)


@dataclass(eq=False)
class Series:
    """Planes of one series without their pixels, the range of these and 0, a hash of all of it."""

    number: int
    planes: list[tuple[Plane, int, tuple[int, int]]] = field(default_factory=list)
    top: float = 0.0
    bottom: float = 0.0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def heads(self) -> list[Plane]:
        """The planes, their pixels left out."""
        return [plane for plane, _, _ in self.planes]


class PlaneStore:
    """Collects planes by series; `folder` has room for them.

    Groups of a file have series of their own, and so have the parts of complex images, whose
    values share no scale.
    """

    def __init__(self, folder: Path) -> None:
        self._file = scratch_file(folder)
        self._series: dict[tuple[str, int, str], Series] = {}

    def add(self, plane: Plane) -> None:
        """Keep one plane."""
        key = (plane.group, plane.series, plane.part)
        series = self._series.setdefault(key, Series(plane.series))
        pixels = np.ascontiguousarray(plane.pixels, np.float32)
        offset = self._file.seek(0, 2)
        self._file.write(pixels.tobytes())
        series.planes.append((replace(plane, pixels=EMPTY), offset, pixels.shape))
        series.top = max(series.top, float(pixels.max(initial=0.0)))
        series.bottom = min(series.bottom, float(pixels.min(initial=0.0)))
        series.digest.update(f"{plane.number} {plane.first} {plane.row} {plane.column}".encode())
        series.digest.update(pixels.tobytes())

    def finished(self) -> list[Series]:
        """Return all series, no two with one number, nor two planes of a series."""
        made = list(self._series.values())
        for series, number in zip(made, own_numbers([s.number for s in made], 0), strict=True):
            series.number = number
            numbers = own_numbers([plane.number for plane, *_ in series.planes], 1)
            series.planes = [
                (replace(plane, number=n), *place)
                for n, (plane, *place) in zip(numbers, series.planes, strict=True)
            ]
        return made

    @property
    def digest(self) -> str:
        """A hash of all planes."""
        parts = (series.digest.digest() for series in self._series.values())
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def planes(self, series: Series) -> Iterator[Plane]:
        """Yield the planes of a series in the order they came, with pixels."""
        for plane, offset, shape in series.planes:
            self._file.seek(offset)
            data = self._file.read(4 * shape[0] * shape[1])
            yield replace(plane, pixels=np.frombuffer(data, np.float32).reshape(shape))

    def close(self) -> None:
        """Forget everything."""
        self._file.close()


def own_numbers(wanted: Sequence[int], lowest: int) -> list[int]:
    """Return a number for each: the wanted one unless it is too low or taken, else a further one.

    Others leave image numbers at 0 or give one to all slices, and 16 bits come round.
    """
    further = itertools.count(max([lowest - 1, *wanted]) + 1)
    taken: set[int] = set()
    numbers = []
    for number in wanted:
        own = number if number >= lowest and number not in taken else next(further)
        taken.add(own)
        numbers.append(own)
    return numbers


# FOLDED gadget/export/window.py: The window of a series: what a viewer shows of its values at first.
EMPTY_WIDTH = 1e-6
"""Of a series without any signal; DICOM wants a width above zero."""


def series_window(series: Series) -> tuple[float, float]:
    """Return centre and width of the widest window that its images name, else of all values."""
    named = [w for head in series.heads if (w := _window(head.meta)) is not None]
    width = series.top - series.bottom or EMPTY_WIDTH
    return max(named, key=lambda w: w[1], default=(series.bottom + width / 2, width))


def _window(meta: dict) -> tuple[float, float] | None:
    """Return centre and width of an image, None unless both are single numbers of use."""
    center, width = (_number(meta.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width <= 0:
        return None
    return center, width


def _number(value: object) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
