"""Place of an image in the scanner.

The `position_mm` of an image is the centre of its field of view, which the FFT convention puts on
index n//2 of every axis; so the centre of the first voxel is

    first = position - (nx//2) dx read - (ny//2) dy phase - (nz//2) dz slice

and plane z of a volume lies z dz further along the slice direction. Lengths in mm, directions are
unit vectors in DICOM patient coordinates (L, P, S).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

Vector = tuple[float, float, float]

DIRECTIONS = ("read_dir", "phase_dir", "slice_dir")

AXIAL: tuple[Vector, Vector, Vector] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
"""Directions that are assumed where fewer than two are given, as viewers do."""

NEEDS_TWO = "an orientation needs two of read_dir, phase_dir and slice_dir"

MIN_AXIAL_COSINE = 1 - 1e-3
"""Least cosine of a direction that is given alone and the one that is assumed."""

MAX_COSINE = 1e-2
"""Largest cosine of two directions that counts as rounding."""


@dataclass(frozen=True)
class SliceGeometry:
    """Place of an image: centre of the field of view, axes, extent ``(z, y, x)`` in mm.

    A direction of zeros follows from the two others; of three, an axial image is assumed.

    Raises
    ------
    ValueError
        A field that is not three numbers, a position or direction that is not finite, an extent
        that is not above 0 and finite, or directions with `faults_of_axes`.
    """

    position_mm: Vector
    read_dir: Vector
    phase_dir: Vector
    slice_dir: Vector
    fov_mm: Vector
    patient_table_position_mm: Vector = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        """Convert sequences of numbers, numpy arrays for instance, to tuples of floats."""
        given = dict(vars(self))
        for name, value in given.items():
            object.__setattr__(self, name, three_numbers(name, value))
        for name in ("position_mm", *DIRECTIONS):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} is {given[name]}, expected three finite numbers")
        if not all(0 < mm < np.inf for mm in self.fov_mm):
            fov_mm = given["fov_mm"]
            raise ValueError(f"fov_mm is {fov_mm}, expected (z, y, x) in mm, above 0 and finite")
        _ = self.axes  # Raises an error for directions with faults.

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read, phase and slice direction, orthonormal, float64."""
        return orthonormal_axes(*map(np.array, (self.read_dir, self.phase_dir, self.slice_dir)))

    @classmethod
    def axial(cls, fov_mm: Vector, position_mm: Vector = (0.0, 0.0, 0.0)) -> SliceGeometry:
        """Return an axial slice, readout from right to left, with this extent ``(z, y, x)``.

        Raises
        ------
        ValueError
            As `SliceGeometry`.
        """
        return cls(position_mm, *AXIAL, fov_mm)

    def plane(self, x: int, n: int) -> SliceGeometry:
        """Return the place of plane `x` of the `n` across the readout of a volume.

        Its image has the volume's slice direction along x and its phase direction along y.
        """
        read, phase, through = self.axes
        depth, height, width = self.fov_mm
        position = np.array(self.position_mm) + (x - n // 2) * width / n * read
        return replace(
            self,
            position_mm=_vector(position),
            read_dir=_vector(through),
            phase_dir=_vector(phase),
            slice_dir=_vector(read),
            fov_mm=(width / n, height, depth),
        )

    def voxel_mm(self, shape: tuple[int, ...]) -> Vector:
        """Return the size of a voxel ``(z, y, x)`` of an image with the matrix ``([z,] y, x)``."""
        depth, height, width = self.fov_mm
        nz, ny, nx = _matrix(shape)
        return (depth / nz, height / ny, width / nx)

    def first_voxel(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the centre of the first voxel of an image with the matrix ``([z,] y, x)``."""
        nz, ny, nx = _matrix(shape)
        dz, dy, dx = self.voxel_mm(shape)
        read, phase, through = self.axes
        first = np.array(self.position_mm) - (nx // 2) * dx * read
        return first - (ny // 2) * dy * phase - (nz // 2) * dz * through

    def affine(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the matrix from voxel to mm, as NIfTI stores it.

        Parameters
        ----------
        shape
            Matrix of the image, ``(y, x)`` or ``(z, y, x)``.

        Returns
        -------
        ndarray
            float64 ``(4, 4)``, see `nifti_affine`.
        """
        dz, dy, dx = self.voxel_mm(shape)
        read, phase, through = self.axes
        return nifti_affine(dx * read, dy * phase, dz * through, self.first_voxel(shape))


def nifti_affine(
    along_x: np.ndarray, along_y: np.ndarray, along_z: np.ndarray, first: np.ndarray
) -> np.ndarray:
    """Return the matrix from voxel ``(x, y, z)`` to mm in NIfTI's coordinates (R, A, S).

    Parameters
    ----------
    along_x, along_y, along_z
        Vectors in mm from one voxel to the next, (L, P, S).
    first
        Centre of the first voxel in mm, (L, P, S).
    """
    matrix = np.eye(4)
    matrix[:3] = np.stack((along_x, along_y, along_z, first), axis=1)
    return np.diag((-1.0, -1.0, 1.0, 1.0)) @ matrix


def _matrix(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the matrix ``(z, y, x)`` of an image ``([z,] y, x)``."""
    nz, ny, nx = (1, *shape)[-3:]
    return (nz, ny, nx)


def _vector(values: Sequence[float] | np.ndarray) -> Vector:
    x, y, z = (float(v) for v in values)
    return (x, y, z)


def three_numbers(name: str, values: Sequence[float] | np.ndarray) -> Vector:
    """Return a vector as a tuple of floats; a `ValueError` that names the field otherwise."""
    try:
        return _vector(values)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {values!r}, expected three numbers") from None


def unit_vectors(vectors: np.ndarray | Vector) -> np.ndarray:
    """Return vectors ``(..., 3)`` of length 1, float64; those of zeros stay."""
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def from_others(axes: Sequence[np.ndarray | Vector], i: int) -> np.ndarray:
    """Return direction `i` of read, phase and slice ``(..., 3)``, which follows from the others."""
    one, two = (np.asarray(axes[(i + k) % 3], np.float64) for k in (1, 2))
    return unit_vectors(np.cross(one, two))


def faults_of_axes(axes: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, str]]:
    """Yield each fault of read, phase and slice directions ``(..., 3)``: where it is, and in words.

    The two directions that an image takes, read and phase or those that are given, have to be
    perpendicular. A direction that is given alone has to be that of an axial image.
    """
    given = [np.any(axis, axis=-1) for axis in axes]
    units = [unit_vectors(axis) for axis in axes]
    for one, two, is_used in ((0, 1, True), (0, 2, ~given[1]), (1, 2, ~given[0])):
        cosine = np.abs((units[one] * units[two]).sum(-1))
        wrong = (cosine > MAX_COSINE) & is_used
        if wrong.any():
            names = f"{DIRECTIONS[one]} and {DIRECTIONS[two]}"
            yield wrong, f"{names} are not perpendicular, their cosine is {cosine[wrong].max():.3f}"
    is_alone = np.sum(given, axis=0) == 1
    for i, name in enumerate(DIRECTIONS):
        wrong = is_alone & given[i] & (units[i] @ AXIAL[i] < MIN_AXIAL_COSINE)
        if wrong.any():
            value = axes[i][wrong][0].tolist()
            yield wrong, f"{name} is {value} and no other direction is given: {NEEDS_TWO}"


def filled_axes(axes: Sequence[np.ndarray | Vector]) -> tuple[Vector, Vector, Vector]:
    """Return read, phase and slice direction, those of zeros filled in.

    One follows from the two others. Of two or three, those of an axial image are assumed.
    """
    given = [i for i, axis in enumerate(axes) if np.any(axis)]
    filled = [_vector(axis) for axis in axes]
    if len(given) < 2:
        return AXIAL
    if len(given) == 2:
        (missing,) = {0, 1, 2} - set(given)
        filled[missing] = _vector(from_others(filled, missing))
    return filled[0], filled[1], filled[2]


def orthonormal_axes(
    read: np.ndarray, phase: np.ndarray, through: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return read, phase and slice direction, orthonormal, float64.

    Missing ones are those of `filled_axes`. The slice direction is the normal of the two others on
    the side of `through`: left-handed axes occur.

    Raises
    ------
    ValueError
        The first of `faults_of_axes`.
    """
    for _, fault in faults_of_axes((read, phase, through)):
        raise ValueError(fault)
    read, phase, through = map(np.array, filled_axes((read, phase, through)))
    read, phase = read / np.linalg.norm(read), phase / np.linalg.norm(phase)
    phase = phase - (phase @ read) * read
    phase /= np.linalg.norm(phase)
    normal = np.cross(read, phase)
    return read, phase, -normal if through @ normal < 0 else normal
