"""Settings of the calibration, and the matrices that they can calibrate; imports no torch."""

from dataclasses import dataclass
from numbers import Integral, Real

MIN_NOISE_SAMPLES = 2
"""Samples of noise per coil without which there is no noise covariance."""

RANGES: dict[str, tuple[float, float]] = {
    "n_virtual_coils": (1, 1024),
    "kernel_width": (3, 16),
    "threshold": (0.0, 0.99),
    "crop": (0.0, 0.99),
    "n_maps": (1, 1024),
}
"""Smallest and largest accepted value of each setting; whole numbers where these are."""


@dataclass(frozen=True)
class CalibrationSettings:
    """Parameters of coil compression and of ESPIRiT.

    Attributes
    ----------
    n_virtual_coils
        Coils kept by compression.
    kernel_width
        Width of the ESPIRiT kernel in k-space samples.
    threshold
        Singular values of the calibration matrix above this fraction of the largest span its row
        space.
    crop
        Eigenvalue below which a pixel is background.
    n_maps
        Sets of coil maps (soft-SENSE); the model determines it, not the user.

    Raises
    ------
    ValueError
        A value is no number, or outside its range (`RANGES`).
    """

    n_virtual_coils: int = 12
    kernel_width: int = 6
    threshold: float = 0.02
    crop: float = 0.9
    n_maps: int = 1

    def __post_init__(self) -> None:
        """Check every value against its range."""
        for name in RANGES:
            check_range(name, getattr(self, name))


def check_range(name: str, value: float) -> None:
    """Raise `ValueError` if a setting is no number or outside its range (`RANGES`)."""
    low, high = RANGES[name]
    is_whole = isinstance(low, int)
    is_number = isinstance(value, Integral if is_whole else Real) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        kind = "a whole number" if is_whole else "a number"
        raise ValueError(f"{name} is {value!r}, expected {kind} from {low} to {high}")


def kernel_shape(lr_shape: tuple[int, int], kernel_width: int) -> tuple[int, int]:
    """Return the calibration kernel ``(y, x)``: along a short axis half of the LR matrix at most.

    So a slab of few partitions has a kernel, if a coarse one along them.
    """
    ky, kx = (min(kernel_width, max(1, n // 2)) for n in lr_shape)
    return (ky, kx)


def check_matrix(lr_shape: tuple[int, int], kernel_width: int) -> None:
    """Raise `ValueError` for an LR matrix smaller than two calibration kernels along both axes.

    One axis may be shorter (`kernel_shape`), if it is one at all.
    """
    (ny, nx), smallest = lr_shape, 2 * kernel_width
    if max(ny, nx) < smallest or min(ny, nx) < 2:
        raise ValueError(
            f"matrix {ny} x {nx} is too small for a kernel of {kernel_width}: "
            f"one axis needs at least {smallest}, the other 2"
        )
