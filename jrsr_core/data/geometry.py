"""Place of an image in the scanner.

The `position_mm` of an image is the centre of its field of view, which the FFT convention puts on
index n//2 of every axis; so the centre of the first voxel is

    first = position - (nx//2) dx read - (ny//2) dy phase - (nz//2) dz slice

and plane z of a volume lies z dz further along the slice direction. Lengths in mm, directions are
unit vectors in DICOM patient coordinates (L, P, S).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

Vector = tuple[float, float, float]

MAX_COSINE = 1e-2
"""Largest cosine of read and phase direction that counts as rounding."""


@dataclass(frozen=True)
class SliceGeometry:
    """Place of an image: centre of the field of view, axes, extent ``(z, y, x)`` in mm.

    Raises
    ------
    ValueError
        A field that is not three numbers.
    """

    position_mm: Vector
    read_dir: Vector
    phase_dir: Vector
    slice_dir: Vector
    fov_mm: Vector
    patient_table_position_mm: Vector = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        """Convert sequences of numbers, numpy arrays for instance, to tuples of floats."""
        for name, value in tuple(vars(self).items()):
            object.__setattr__(self, name, three_numbers(name, value))

    @classmethod
    def axial(cls, fov_mm: Vector, position_mm: Vector = (0.0, 0.0, 0.0)) -> SliceGeometry:
        """Return an axial slice, readout from right to left, with this extent ``(z, y, x)``.

        Raises
        ------
        ValueError
            Not three numbers each, or an extent that is not above 0 and finite.
        """
        if not all(0 < mm < np.inf for mm in three_numbers("fov_mm", fov_mm)):
            raise ValueError(f"fov_mm is {fov_mm}, expected (z, y, x) in mm, above 0 and finite")
        return cls(position_mm, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), fov_mm)

    def plane(self, x: int, n: int) -> SliceGeometry:
        """Return the place of plane `x` of the `n` across the readout of a volume.

        Its image has the volume's slice direction along x and its phase direction along y.

        Raises
        ------
        ValueError
            As `affine`.
        """
        read, phase, through = orthonormal_axes(
            *map(np.array, (self.read_dir, self.phase_dir, self.slice_dir))
        )
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

    def affine(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the matrix from voxel to mm, as NIfTI stores it.

        Parameters
        ----------
        shape
            Matrix of the image, ``(y, x)`` or ``(z, y, x)``.

        Returns
        -------
        ndarray
            float64 ``(4, 4)``, from the voxel ``(x, y, z)`` to NIfTI's coordinates (R, A, S).

        Raises
        ------
        ValueError
            Directions that are not perpendicular.
        """
        sizes = np.array((1, *shape)[-3:][::-1])
        steps = np.array(self.fov_mm[::-1]) / sizes
        axes = orthonormal_axes(*map(np.array, (self.read_dir, self.phase_dir, self.slice_dir)))
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack(axes, axis=1) * steps
        matrix[:3, 3] = np.array(self.position_mm) - matrix[:3, :3] @ (sizes // 2)
        return np.diag((-1.0, -1.0, 1.0, 1.0)) @ matrix


def _vector(values: Sequence[float] | np.ndarray) -> Vector:
    x, y, z = (float(v) for v in values)
    return (x, y, z)


def three_numbers(name: str, values: Sequence[float] | np.ndarray) -> Vector:
    """Return a vector as a tuple of floats; a `ValueError` that names the field otherwise."""
    try:
        return _vector(values)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {values!r}, expected three numbers") from None


def orthonormal_axes(
    read: np.ndarray, phase: np.ndarray, through: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return read, phase and slice direction, orthonormal, float64.

    The slice direction is the normal of the two others on the side of `through`: left-handed axes
    occur. Without read and phase direction the slice is taken to be axial, as viewers do.

    Raises
    ------
    ValueError
        One of read and phase direction is empty, or they are not perpendicular.
    """
    if not read.any() and not phase.any():
        axial = np.eye(3)
        return axial[0], axial[1], axial[2]
    if not (read.any() and phase.any()):
        raise ValueError(f"read_dir is {read}, phase_dir is {phase}")
    read, phase = read / np.linalg.norm(read), phase / np.linalg.norm(phase)
    if abs(read @ phase) > MAX_COSINE:
        raise ValueError(
            f"read_dir and phase_dir are not perpendicular, their cosine is {read @ phase:.3f}"
        )
    phase = phase - (phase @ read) * read
    phase /= np.linalg.norm(phase)
    normal = np.cross(read, phase)
    return read, phase, -normal if through @ normal < 0 else normal
