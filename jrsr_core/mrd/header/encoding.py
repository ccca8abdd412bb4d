"""One encoding space of a scan header, and the numbers that follow from it.

Sizes are ordered like array axes, ``(z, y, x)``; lengths are in mm.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from jrsr_core.data import Vector

LARGEST_MM = 1e6
"""Largest position, and largest length of a field of view; its smallest is the reciprocal."""

HR_READOUT = 0.75
"""Readout pixel over phase-encode pixel up to which a 2-D readout counts as acquired at HR."""


class PhaseEncodeGrid(NamedTuple):
    """Phase-encode plane ``(ny, nz)`` and the counters that lie at its centre ``(n//2, n//2)``.

    Row and column of a line are its counters minus those of the centre, plus ``n//2``.
    """

    ny: int
    nz: int
    center_line: int
    center_partition: int


@dataclass(frozen=True)
class Encoding:
    """One encoding space of the scan header.

    Attributes
    ----------
    encoding_matrix, encoding_fov_mm
        Nominal acquired grid including readout oversampling.
    recon_matrix, recon_fov_mm
        The image that the scanner would deliver.
    center_line, center_partition
        Counters of k = 0; None where the header has none.
    line_limits, partition_limits
        Smallest and largest counter along either phase encode; None where the header has none.
    max_segment
        Largest segment counter; 0 where the header has none.
    acceleration
        Factors along the phase encodes ``(y, z)``.
    multiband_factor
        Number of slices that are excited together.
    counter_maxima
        Largest value of the counters (average, slice, contrast, phase, repetition, set) that the
        header limits.
    notes
        How sizes that contradict each other are read, one sentence each.
    """

    encoding_matrix: tuple[int, int, int]
    recon_matrix: tuple[int, int, int]
    encoding_fov_mm: Vector
    recon_fov_mm: Vector
    trajectory: str = "cartesian"
    center_line: int | None = None
    center_partition: int | None = None
    line_limits: tuple[int, int] | None = None
    partition_limits: tuple[int, int] | None = None
    max_segment: int = 0
    acceleration: tuple[int, int] = (1, 1)
    calibration_mode: str = "none"
    multiband_factor: int = 1
    counter_maxima: dict[str, int] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()

    @property
    def has_reference_scan(self) -> bool:
        """Whether calibration lines may be those of another scan, which make no image."""
        return self.calibration_mode in ("separate", "external")

    @property
    def is_3d(self) -> bool:
        """Whether there is a second phase-encoding direction."""
        return self.encoding_matrix[0] > 1

    @property
    def readout_oversampling(self) -> float:
        """Encoded over delivered field of view along the readout; 2 on most scanners."""
        return self.encoding_fov_mm[2] / self.recon_fov_mm[2]

    @cached_property
    def readout_size(self) -> int:
        """Samples that remain of an encoded readout after removal of oversampling."""
        n_encoded = self.encoding_matrix[2]
        return min(n_encoded, max(1, round(n_encoded / self.readout_oversampling)))

    @cached_property
    def lr_readout_size(self) -> int | None:
        """Readout samples of the LR grid of a readout acquired at HR, None for any other.

        The LR pixel is square, and so is the HR pixel of half its size; a readout finer than that
        stays as fine as it is: the HR grid, of twice as many samples, holds all that were measured.
        """
        if self.is_3d:
            return None
        _, ny, n_encoded = self.encoding_matrix
        _, fov_y, fov_x = self.encoding_fov_mm
        ratio = (fov_x / n_encoded) / (fov_y / ny)
        if ratio > HR_READOUT + 1e-6:
            return None
        return max(round(self.readout_size * ratio), (self.readout_size + 1) // 2)

    @property
    def lr_scale(self) -> float:
        """Factor on k-space that keeps the scale of the image on the LR grid."""
        n_lr = self.lr_readout_size
        return 1.0 if n_lr is None else (n_lr / self.readout_size) ** 0.5

    @property
    def acquired_fov_mm(self) -> Vector:
        """Field of view ``(z, y, x)`` of the encoded matrix without readout oversampling."""
        z, y, x = self.encoding_fov_mm
        return (z, y, x * self.readout_size / self.encoding_matrix[2])

    @cached_property
    def grid(self) -> PhaseEncodeGrid:
        """Phase-encode plane of the encoded matrix; centred where the header names no centre."""
        nz, ny, _ = self.encoding_matrix
        line, partition = self.center_line, self.center_partition
        return PhaseEncodeGrid(
            ny=ny,
            nz=nz,
            center_line=ny // 2 if line is None else line,
            center_partition=nz // 2 if partition is None else partition,
        )
