"""Where a reference scan lies: the slice of it that an image needs, and how far its centre is off.

The ACS of an image is k-space of the object seen from the centre of the image. A reference whose
centre is at r = 0, and the image at d on its axes, has to be seen from d:

    a_d(k) = a(k) exp(2 pi i (k . d) / FOV).

Slices are matched by their place along the slice normal, for counters of two scans may run in
another order. Heads without directions say nothing about the place; then counters match, and
centres are the same. Ours.
"""

import math

import numpy as np
import torch
from torch import Tensor

from jrsr_core.data import Encoding, Vector

DIRECTIONS = ("slice_dir", "phase_dir", "read_dir")

SAME_MM = 1e-2
"""Places that differ by less are one."""


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
    """Return d / FOV ``(z, y, x)`` of an image in a reference of this field of view.

    Raises
    ------
    Misplaced
        A reference of another orientation, or that does not hold the centre of the image.
    """
    if not (has_axes(reference) and has_axes(image)):
        return (0.0, 0.0, 0.0)
    distance = np.array(image["position"], np.float64) - reference["position"]
    axes = (reference[name] for name in DIRECTIONS)
    offset = tuple(float(distance @ a) / mm for a, mm in zip(axes, fov_mm, strict=True))
    if max(map(abs, offset)) > 0.5:
        raise Misplaced("reference that does not reach every slice")
    return offset


def seen_from(kspace: Tensor, offset: Vector) -> Tensor:
    """Return k-space ``(coil, ay, az, ax)`` as seen from `offset` ``(z, y, x)``."""
    for axis, d in zip((2, 1, 3), offset, strict=True):
        if d:
            n = kspace.shape[axis]
            angle = 2 * math.pi * d * (torch.arange(n, dtype=torch.float64) - n // 2)
            ramp = torch.polar(torch.ones_like(angle), angle).to(kspace)
            kspace = kspace * ramp.reshape(-1, *[1] * (3 - axis))
    return kspace


def are_parallel(heads: np.ndarray, image: np.void) -> np.ndarray:
    """Boolean per line: whether its axes are those of the line `image`, or not known."""
    cosines = [heads[name].astype(np.float64) @ image[name] for name in DIRECTIONS]
    parallel = np.min(cosines, axis=0) >= math.cos(math.radians(MAX_ANGLE_DEG))
    return parallel | ~has_axes(heads) | ~has_axes(image)


def has_axes(heads: np.ndarray | np.void) -> np.ndarray:
    """Whether directions are filled in, per line; simulated files may leave them empty."""
    return np.all([np.any(heads[name], axis=-1) for name in DIRECTIONS], axis=0)


def _differ(places: np.ndarray) -> bool:
    """Whether places of several slices are several."""
    return len(places) == 1 or float(np.ptp(places)) > SAME_MM


# FOLDED jrsr_core/mrd/reference_volume.py: A 3-D reference scan of 2-D slices: where a slice lies in it, and its k-space there.
MAX_ANGLE_DEG = 1.0
"""Difference of orientation up to which axes count as parallel."""


class Misplaced(ValueError):
    """A reference scan that does not contain the slice, or not on its axes."""


def place_in_volume(reference: np.void, encoding: Encoding, image: np.void) -> Vector:
    """Return d / FOV ``(z, y, x)`` of a slice, from the heads of two lines.

    Raises
    ------
    Misplaced
        A reference of one partition, of another orientation, or not reaching as far as the slice.
    """
    if not encoding.is_3d:
        raise Misplaced("reference of several partitions in a 2-D encoding")
    axes = [np.array(reference[name]) for name in ("slice_dir", "phase_dir", "read_dir")]
    others = [np.array(image[name]) for name in ("slice_dir", "phase_dir", "read_dir")]
    # Simulated files may leave the directions empty; both scans then lie on the same axes.
    if all(axis.any() for axis in (*axes, *others)):
        cosines = [float(a @ b) for a, b in zip(axes, others, strict=True)]
        if min(cosines) < math.cos(math.radians(MAX_ANGLE_DEG)):
            raise Misplaced("reference volume of another orientation")
    else:
        axes = [np.eye(3)[i] for i in (2, 1, 0)]
    distance = np.array(image["position"], np.float64) - reference["position"]
    fov = (*encoding.encoding_fov_mm[:2], encoding.recon_fov_mm[2])
    offset = tuple(float(distance @ a) / mm for a, mm in zip(axes, fov, strict=True))
    if max(abs(d) for d in offset) > 0.5:
        raise Misplaced("reference volume that does not reach every slice")
    return offset


def plane_of_volume(kspace: Tensor, offset: Vector) -> Tensor:
    """Return k-space ``(coil, ay, 1, ax)`` of the plane at `offset` of ``(coil, ay, az, ax)``."""
    _, ny, nz, nx = kspace.shape
    kspace = kspace * _ramp(nz, offset[0])[:, None].to(kspace)
    plane = kspace.sum(2, keepdim=True) / math.sqrt(nz)
    shift = _ramp(ny, offset[1])[:, None, None] * _ramp(nx, offset[2])
    return plane * shift.to(kspace)


def _ramp(n: int, offset: float) -> Tensor:
    """exp(2 pi i k d) for the centred k of n samples, complex128."""
    angle = 2 * math.pi * offset * (torch.arange(n, dtype=torch.float64) - n // 2)
    return torch.polar(torch.ones_like(angle), angle)
