"""Sampling masks ``(ky, kx)`` on the LR grid, float32 0/1.

1-D masks choose whole readout lines, so that their columns are equal; 2-D masks choose points of
the plane of both phase encodes (PE, SPE). All have a fully sampled centre of `n_acs` lines, or
`n_acs` x `n_acs` points, for calibration (ACS). The same seed always gives the same mask. They
raise `ValueError` if the centre does not fit the matrix or the acceleration.
"""

import numpy as np
import torch
from torch import Tensor

from jrsr_core.physics.resolution import Shape


def _center(n: int, width: int) -> slice:
    start = n // 2 - width // 2
    return slice(start, start + width)


def _lines_to_mask(lines: np.ndarray, n_readout: int) -> Tensor:
    return torch.from_numpy(lines.astype(np.float32))[:, None].repeat(1, n_readout)


def _check(n: int, n_lines: int, n_acs: int) -> None:
    if not 0 < n_acs <= n:
        raise ValueError(f"n_acs is {n_acs}, the mask has {n} lines")
    if n_lines < n_acs:
        raise ValueError(f"acceleration leaves {n_lines} of {n} lines, the ACS alone has {n_acs}")


def gaussian_mask(
    shape: Shape,
    acceleration: float,
    *,
    n_acs: int = 24,
    seed: int = 0,
    sigma: float = 0.1,
    floor: float = 0.2,
) -> Tensor:
    """Return a 1-D mask of Gaussian density along ky with ``round(n / R)`` lines in all.

    Lines outside the centre are drawn without replacement, with the density
    ``exp(-((k - n//2) / (sigma n))^2 / 2) + floor``. This is the 2.5x mask of Xu et al. 2023, who
    do not state sigma; ours is n/10.
    """
    n = shape[0]
    n_lines = round(n / acceleration)
    _check(n, n_lines, n_acs)
    lines = np.zeros(n, dtype=bool)
    lines[_center(n, n_acs)] = True
    k = np.arange(n) - n // 2
    density = np.exp(-0.5 * (k / (sigma * n)) ** 2) + floor
    density[lines] = 0.0
    rng = np.random.default_rng(seed)
    if n_lines > n_acs:
        chosen = rng.choice(n, n_lines - n_acs, replace=False, p=density / density.sum())
        lines[chosen] = True
    return _lines_to_mask(lines, shape[1])


def regular_mask(shape: Shape, acceleration: int, *, n_acs: int = 24) -> Tensor:
    """Return a 1-D mask of every R-th line and the centre, as parallel imaging samples."""
    n = shape[0]
    _check(n, n, n_acs)
    lines = np.zeros(n, dtype=bool)
    lines[(n // 2) % acceleration :: acceleration] = True
    lines[_center(n, n_acs)] = True
    return _lines_to_mask(lines, shape[1])


POISSON_POINTS = 8
"""How many points a Poisson disc may have too many or too few, to first order.

Below 24 x 24 there may be no disc in between, and the bisection of sigpy (0.1.27) never ends.
"""


def poisson_mask(shape: Shape, acceleration: float, *, n_acs: int = 24, seed: int = 0) -> Tensor:
    """Return a 2-D variable-density Poisson disc with a square centre, by `sigpy.mri.poisson`.

    Its acceleration lies within 0.15 of R, or within ``POISSON_POINTS R^2 / (ny nx)`` where that is
    more, which is about what so many points change.

    Source: Vasanawala et al., IEEE ISBI 2011:1039.
    """
    # Imported here: sigpy imports numba, which takes seconds, and only this mask needs it.
    from sigpy.mri import poisson

    if min(shape) < n_acs:
        raise ValueError(f"n_acs is {n_acs}, the mask is {shape}")
    if acceleration <= 1:
        return torch.ones(shape)
    tolerance = max(0.15, POISSON_POINTS * acceleration**2 / (shape[0] * shape[1]))
    try:
        points = poisson(
            shape, acceleration, calib=(n_acs, n_acs), crop_corner=False, seed=seed, tol=tolerance
        )
    except ValueError as error:
        raise ValueError(f"no Poisson disc of {acceleration}x on {shape}: {error}") from error
    return torch.from_numpy(np.ascontiguousarray(points.real, dtype=np.float32))


def random_mask(shape: Shape, acceleration: float, *, n_acs: int = 24, seed: int = 0) -> Tensor:
    """Return a 2-D mask of ``round(ny nx / R)`` independent points with a square centre.

    Their density is proportional to exp(-4 r^2) + 0.1, r = 1 at the edge of k-space. It is faster
    to draw than the Poisson disc of `poisson_mask`, which spaces its points more evenly.
    """
    ny, nx = shape
    n_points = round(ny * nx / acceleration)
    _check(min(shape), n_acs, n_acs)
    if n_points < n_acs**2:
        raise ValueError(f"acceleration leaves {n_points} points, the ACS alone has {n_acs**2}")
    y, x = np.ogrid[:ny, :nx]
    radius = ((y - ny // 2) / (ny / 2)) ** 2 + ((x - nx // 2) / (nx / 2)) ** 2
    density = np.exp(-4 * radius) + 0.1
    mask = np.zeros(shape, dtype=bool)
    mask[_center(ny, n_acs), _center(nx, n_acs)] = True
    density[mask] = 0.0
    rng = np.random.default_rng(seed)
    n_free = n_points - n_acs**2
    chosen = rng.choice(ny * nx, n_free, replace=False, p=(density / density.sum()).ravel())
    mask.ravel()[chosen] = True
    return torch.from_numpy(mask.astype(np.float32))


MASK_NAMES = ("gaussian", "regular", "poisson", "random", "full")


def make_mask(
    name: str, shape: Shape, acceleration: float, *, n_acs: int = 24, seed: int = 0
) -> Tensor:
    """Return a mask of the kind `name`, one of `MASK_NAMES`; `ValueError` for any other name."""
    if name == "gaussian":
        return gaussian_mask(shape, acceleration, n_acs=n_acs, seed=seed)
    if name == "regular":
        if acceleration != int(acceleration):
            raise ValueError(f"a regular mask needs a whole acceleration, got {acceleration}")
        return regular_mask(shape, int(acceleration), n_acs=n_acs)
    if name == "poisson":
        return poisson_mask(shape, acceleration, n_acs=n_acs, seed=seed)
    if name == "random":
        return random_mask(shape, acceleration, n_acs=n_acs, seed=seed)
    if name == "full":
        return torch.ones(shape)
    raise ValueError(f"unknown mask {name!r}, known: {', '.join(MASK_NAMES)}")
