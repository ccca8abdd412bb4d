"""A 3-D reference scan of 2-D slices: where a slice lies in it, and its k-space there.

With k and r along the axes of the reference, whose field of view is FOV and whose centre is r = 0,
the plane through d, with its own centre at d, has the k-space

    a_d(ky, kx) = sum_kz a(kz, ky, kx) exp(2 pi i (k . d) / FOV) / sqrt(nz),

which is the band-limited interpolation along z, and a shift of the field of view along y and x. The
image of the slice is thicker than a point of z; coil maps hardly change over that. Ours.
"""

import math

import numpy as np
import torch
from torch import Tensor

from ..geometry import Encoding, Vector

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
