"""Where a slice lies in a reference scan: its orientation, its slice, its offset.

Slices are matched by their place along the slice normal, for counters of two scans may run in
another order. An offset is d / FOV: d is the centre of the image minus that of the reference, on
the axes of the reference. Where line headers have no directions, slices are matched by counter and
centres are taken to be the same. Ours.
"""

import math

import numpy as np

from jrsr_core.data import Vector
from jrsr_core.mrd.header.encoding import Encoding

ZYX_DIRECTIONS = ("slice_dir", "phase_dir", "read_dir")
"""Directions of the axes ``(z, y, x)`` of an image; `data.geometry.DIRECTIONS` begin with x."""

MAX_ANGLE_DEG = 1.0
"""Difference of orientation up to which axes count as parallel."""

SAME_MM = 1e-2
"""Places that differ by less are one."""


class Misplaced(ValueError):
    """A reference scan that does not contain the slice, or not on its axes."""


def slice_at(
    heads: np.ndarray, reference: np.ndarray, image: int, images: np.ndarray, thickness_mm: float
) -> tuple[np.ndarray, bool]:
    """Return the reference lines of the slice nearest that of the line `image`.

    Parameters
    ----------
    reference
        Lines of all slices of the reference.
    images
        One line of every slice that needs a reference.
    thickness_mm
        Half of it, or of the distance of reference slices, is how far off a slice may be.

    Returns
    -------
    lines, is_known
        `is_known` is False where positions are missing or all equal: lines are those of the same
        slice counter, if any.

    Raises
    ------
    Misplaced
        No slice of this orientation, or none near enough.
    """
    numbers, first = np.unique(heads["idx"]["slice"][reference], return_index=True)
    firsts, own = heads[reference[first]], heads["idx"]["slice"][image]
    parallel = are_parallel(firsts, heads[image])
    if not parallel.any():
        raise Misplaced("reference of another orientation")
    normal = heads["slice_dir"][image].astype(np.float64)
    numbers, places = numbers[parallel], firsts["position"][parallel] @ normal
    others = heads[images]
    others = others["position"][are_parallel(others, heads[image])] @ normal
    has_places = has_axes(firsts).all() and has_axes(heads[image])
    if not (has_places and _differ(places) and _differ(others)):
        return reference[heads["idx"]["slice"][reference] == own], False
    distance = np.abs(places - heads["position"][image] @ normal)
    # Of slices at one place the one of the same counter.
    near = numbers[distance <= distance.min() + SAME_MM]
    steps = np.diff(np.sort(places))
    reach = max(thickness_mm, float(np.median(steps)) if len(steps) else 0.0) / 2
    if distance.min() > reach + SAME_MM:
        raise Misplaced("reference slices that do not reach every slice")
    number = own if own in near else near[0]
    return reference[heads["idx"]["slice"][reference] == number], True


def offset_of(reference: np.void, image: np.void, fov_mm: Vector) -> Vector:
    """Return the offset ``(z, y, x)`` of an image in a reference of this field of view.

    Raises
    ------
    Misplaced
        The reference does not hold the centre of the image.
    """
    if not (has_axes(reference) and has_axes(image)):
        return (0.0, 0.0, 0.0)
    offset = _offset(reference, image, [reference[name] for name in ZYX_DIRECTIONS], fov_mm)
    if max(map(abs, offset)) > 0.5:
        raise Misplaced("reference that does not reach every slice")
    return offset


def place_in_volume(reference: np.void, encoding: Encoding, image: np.void) -> Vector:
    """Return the offset ``(z, y, x)`` of a slice in a 3-D reference of this encoding.

    Raises
    ------
    Misplaced
        A reference of one partition, of another orientation, or not reaching as far as the slice.
    """
    if not encoding.is_3d:
        raise Misplaced("reference of several partitions in a 2-D encoding")
    if not are_parallel(reference, image):
        raise Misplaced("reference volume of another orientation")
    # Simulated files may leave the directions empty; both scans then lie on the same axes.
    axes = [np.eye(3)[i] for i in (2, 1, 0)]
    if has_axes(reference) and has_axes(image):
        axes = [reference[name] for name in ZYX_DIRECTIONS]
    offset = _offset(reference, image, axes, encoding.acquired_fov_mm)
    if max(map(abs, offset)) > 0.5:
        raise Misplaced("reference volume that does not reach every slice")
    return offset


def _offset(reference: np.void, image: np.void, axes: list[np.ndarray], fov_mm: Vector) -> Vector:
    distance = np.array(image["position"], np.float64) - reference["position"]
    z, y, x = (float(distance @ axis) / mm for axis, mm in zip(axes, fov_mm, strict=True))
    return (z, y, x)


def are_parallel(heads: np.ndarray | np.void, image: np.void) -> np.ndarray:
    """Return a boolean per line: whether its axes are those of the line `image`, or not known."""
    cosines = [heads[name].astype(np.float64) @ image[name] for name in ZYX_DIRECTIONS]
    parallel = np.min(cosines, axis=0) >= math.cos(math.radians(MAX_ANGLE_DEG))
    return parallel | ~has_axes(heads) | ~has_axes(image)


def has_axes(heads: np.ndarray | np.void) -> np.ndarray:
    """Return a boolean per line: whether its directions are filled in."""
    return np.all([np.any(heads[name], axis=-1) for name in ZYX_DIRECTIONS], axis=0)


def _differ(places: np.ndarray) -> bool:
    """Whether slices lie at different places; one slice alone counts as such."""
    return len(places) == 1 or float(np.ptp(places)) > SAME_MM
