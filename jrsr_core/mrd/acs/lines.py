"""The lines of one ACS, and the size of the ACS they give, found without reading a sample.

shared     the centre of the k-space of one image (embedded calibration lines are part of it), for
           all contrasts, phases, repetitions and sets of its slice
frames     interleaved calibration (TPAT): every frame is undersampled, their average is not;
           Breuer et al., MRM 2005;53:981
reference  a separate or external scan of the same axes, its slices matched by place
volume     a 3-D reference of 2-D slices
"""

import math
from dataclasses import dataclass

import numpy as np

from jrsr_core.acs import find_acs
from jrsr_core.data import Vector
from jrsr_core.mrd.header.encoding import Encoding, PhaseEncodeGrid
from jrsr_core.mrd.lines.grid import plane_counts, sample_counts
from jrsr_core.mrd.lines.readout import LineLayout

MIN_LINES = 6
"""A frame with fewer central lines is not calibrated from itself while others could help."""


@dataclass(frozen=True, eq=False)
class CalibrationLines:
    """Lines of one ACS.

    Attributes
    ----------
    kind
        shared, frames, reference or volume.
    lines
        Their indices.
    layout
        Encoding space they belong to.
    grid
        Plane on which they lie; for a reference it holds no more than its lines.
    image
        Encoding of the images that they calibrate.
    offset
        Place ``(z, y, x)`` of the centre of the image in a reference, in fields of view of it.
    unused_reference
        What is wrong with a reference scan that these lines replace; empty if there is none.
    """

    kind: str
    lines: np.ndarray
    layout: LineLayout
    grid: PhaseEncodeGrid
    image: Encoding
    offset: Vector = (0.0, 0.0, 0.0)
    unused_reference: str = ""

    @classmethod
    def of_images(cls, kind: str, lines: np.ndarray, layout: LineLayout) -> "CalibrationLines":
        """Return lines of the images themselves, on their own grid."""
        return cls(kind, lines, layout, layout.encoding.grid, layout.encoding)

    @property
    def encoding(self) -> Encoding:
        """Encoding of the lines; another one than `image` where the reference has its own."""
        return self.layout.encoding

    @property
    def is_reference(self) -> bool:
        """Whether the lines come from another scan than the images."""
        return self.kind in ("reference", "volume")

    @property
    def is_plane(self) -> bool:
        """Whether the ACS is sought in the plane ``(ky, kz)``, else in the slice ``(ky, kx)``."""
        return self.image.is_3d or self.kind == "volume"

    @property
    def fov_ratios(self) -> Vector:
        """Field of view of the image over that of the lines ``(z, y, x)``; 1 if nearly equal."""
        own, wanted = self.encoding.acquired_fov_mm, self.image.acquired_fov_mm
        z, y, x = (
            1.0 if abs(b / a - 1) < 1e-3 else b / a for a, b in zip(own, wanted, strict=True)
        )
        return (z if self.image.is_3d else 1.0, y, x)

    def counts(self, heads: np.ndarray) -> np.ndarray:
        """Return how often samples ``(ky, kx)``, or places ``(ky, kz)``, were measured, float32.

        `heads` are the headers of `lines`, or of some of them.
        """
        if self.is_plane:
            return plane_counts(heads, self.grid)
        return sample_counts(heads, self.grid, self.layout)

    def acs_size(self, heads: np.ndarray) -> tuple[int, int]:
        """Return the size ``(ay, ax)``, in 3-D ``(ay, az)``, that the ACS will have.

        `heads` are the headers of all lines of the scan.
        """
        ny, nx = acs_size(self.counts(heads[self.lines]))
        if not self.is_reference:
            return (ny, nx)
        if self.kind == "volume" and ny:
            nx = self.encoding.readout_size
        z, y, x = self.fov_ratios
        n_partitions, n_lines, _ = self.image.encoding_matrix
        most = n_partitions if self.image.is_3d else self.image.readout_size
        ratio = z if self.image.is_3d else x
        return (min(scaled_size(ny, y), n_lines), min(scaled_size(nx, ratio), most))


def acs_size(counts: np.ndarray) -> tuple[int, int]:
    """Return the size of the largest fully sampled centre; (0, 0) without one."""
    try:
        rows, columns = find_acs(counts)
    except ValueError:
        return (0, 0)
    return (rows.stop - rows.start, columns.stop - columns.start)


def scaled_size(n: int, ratio: float) -> int:
    """Return the samples of an axis of n once its field of view has changed by `ratio`."""
    return n if ratio == 1 else math.floor(n * ratio + 1e-6)
