"""Covariance of the windows of an ACS: k x k samples of all coils, every window a column of A.

    R = A A^H / n_windows,   A (D x windows) the calibration matrix of the ACS,   D = coils k^2

R is made in double precision: its eigenvalues span the dynamic range of k-space, squared.
"""

import torch
from torch import Tensor

from .espirit import calibration_matrix

MAX_KERNEL = 6
MAX_DIMENSIONS = 200
"""More cost time, 0.2 s for 450, and estimate no better."""

WINDOWS_PER_DIMENSION = 3

RIDGE = 1e-14
"""Of the mean power: R stays invertible where channels are copies or empty."""


def kernel_width(shape: tuple[int, int, int]) -> int:
    """Widest kernel that leaves enough windows per dimension, and stays affordable."""
    n_coils, ny, nx = shape
    for width in range(min(MAX_KERNEL, ny, nx), 0, -1):
        n_dimensions = n_coils * width**2
        is_affordable = n_dimensions <= MAX_DIMENSIONS or width == 1
        if is_affordable and n_windows(shape, width) >= WINDOWS_PER_DIMENSION * n_dimensions:
            return width
    raise ValueError(f"acs of {ny}x{nx} is too small to estimate the noise of {n_coils} coils")


def n_windows(shape: tuple[int, int, int], width: int) -> int:
    """Return the number of windows in an ACS of a shape ``(coil, y, x)``."""
    _, ny, nx = shape
    return (ny - width + 1) * (nx - width + 1)


def window_covariance(acs: Tensor, width: int) -> Tensor:
    """Return R, complex128 ``(coil k k, coil k k)``, coils first, of an ACS ``(coil, y, x)``."""
    windows = calibration_matrix(acs.to(torch.complex128), (width, width))
    return windows @ windows.mH / windows.shape[1]


def conditional_variance(covariance: Tensor, shape: tuple[int, int, int], width: int) -> Tensor:
    """Return what the rest of a window leaves of the power of one sample, float64 ``(coil,)``.

    The other samples explain signal but not noise, so that it is an upper bound of the noise power,

        1 / (R^-1)_ii    corrected by n / (n - D), of n windows of D samples.

    `covariance` is R, `shape` that of the ACS. Signal that is not explained makes it larger.
    """
    ridge = RIDGE * covariance.diagonal().real.mean()
    inverse = torch.linalg.inv(covariance + ridge * torch.eye(len(covariance)))
    n = n_windows(shape, width)
    missed = n / (n - len(covariance))
    return missed * (1 / inverse.diagonal().real).reshape(shape[0], -1).mean(1)
