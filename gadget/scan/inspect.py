"""Inspection of a scan by its headers and the samples of one image per encoding space.

`jrsr check` prints the result and `jrsr recon` acts on it, so that both accept the same scans.
"""

from dataclasses import dataclass

import numpy as np

from gadget.settings import Settings
from jrsr_core.calibration.settings import check_matrix, kernel_shape
from jrsr_core.data.acceleration import acceleration_of, sampled_acceleration
from jrsr_core.matrix import SR_FACTOR
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.examination.examine import plan_source
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.acquired import LineSource
from jrsr_core.mrd.lines.grid import check_lines, line_counts, sampling_pattern
from jrsr_core.mrd.lines.readout import measured_share
from jrsr_core.mrd.planning.plan import ScanPlan

from .memory import check_memory


@dataclass(frozen=True, eq=False)
class SpaceInspection:
    """The images of one encoding space.

    Attributes
    ----------
    number
        Of the encoding space in the header.
    acs
        Smallest usable calibration block ``(y, x)`` (3-D: ``(y, z)``) in samples, the largest one
        if none is usable.
    kernel
        Smallest block that is usable.
    n_without_acs
        Images without a usable calibration block, which will be fallback images.
    acceleration, sampled_acceleration
        Means over the images, of all of k-space and of its sampled part.
    n_averages
        Largest number of lines at one position of k-space.
    echo
        Smallest measured fraction of the readouts; below 1 for asymmetric echoes.
    """

    number: int
    encoding: Encoding
    n_images: int
    acs: tuple[int, int]
    kernel: tuple[int, int]
    n_without_acs: int
    acceleration: float
    sampled_acceleration: float
    n_averages: int
    echo: float

    @property
    def lr_matrix(self) -> tuple[int, ...]:
        """LR matrix ``(y, x)``, 3-D ``(z, y, x)``, without readout oversampling."""
        nz, ny, _ = self.encoding.encoding_matrix
        plane = (ny, self.encoding.lr_readout_size or self.encoding.readout_size)
        return (nz, *plane) if self.encoding.is_3d else plane

    @property
    def hr_matrix(self) -> tuple[int, ...]:
        """Matrix of the images, without oversampling along the phase encodes as well."""
        encoding = self.encoding
        ratios = zip(encoding.recon_fov_mm, encoding.encoding_fov_mm, strict=True)
        z, y, _ = (min(1.0, wanted / encoded) for wanted, encoded in ratios)
        *_, ny, nx = self.lr_matrix
        if not encoding.is_3d:
            return (SR_FACTOR * round(ny * y), SR_FACTOR * nx)
        return (SR_FACTOR * round(self.lr_matrix[0] * z), SR_FACTOR * round(ny * y), nx)


@dataclass(frozen=True, eq=False)
class Inspection:
    """A plan and its encoding spaces that have images."""

    plan: ScanPlan
    spaces: tuple[SpaceInspection, ...]


def inspect_scan(header: ScanHeader, source: LineSource, settings: Settings) -> Inspection:
    """Plan a scan and inspect its images.

    Parameters
    ----------
    source
        All lines.

    Raises
    ------
    UnsupportedScan, BadScan
        The scan is declined, or broken.
    """
    plan = plan_source(header, source)
    spaces = tuple(_inspect_space(plan, number, source.heads, settings) for number in plan.spaces)
    return Inspection(plan, spaces)


def _inspect_space(
    plan: ScanPlan, number: int, heads: np.ndarray, settings: Settings
) -> SpaceInspection:
    layout, width = plan.layouts[number], settings.kernel_width
    encoding = layout.encoding
    _check_size(encoding, width)
    check_memory(encoding, plan.n_coils, settings)
    known: dict[bytes, tuple[float, float, int, float]] = {}
    blocks, figures = [], []
    for counters, lines in plan.groups.items():
        if counters.encoding != number:
            continue
        key = sampling_pattern(heads[lines])
        if key not in known:
            check_lines(heads[lines], encoding)
            counts = line_counts(heads[lines], layout)
            accelerations = (acceleration_of(counts > 0), sampled_acceleration(counts > 0))
            echo = measured_share(heads[lines], layout)
            known[key] = (*accelerations, int(counts.max()), echo)
        blocks.append(plan.calibration[plan.acs_keys[counters]].acs_size(heads))
        figures.append(known[key])
    kernel = kernel_shape(_plane(encoding), width)
    # One coil needs no calibration.
    usable = [b for b in blocks if plan.n_coils == 1 or (b[0] >= kernel[0] and b[1] >= kernel[1])]
    accelerations, sampled, averages, echoes = zip(*figures, strict=True)
    return SpaceInspection(
        number=number,
        encoding=encoding,
        n_images=len(blocks),
        acs=min(usable) if usable else max(blocks),
        kernel=kernel,
        n_without_acs=len(blocks) - len(usable),
        acceleration=float(np.mean(accelerations)),
        sampled_acceleration=float(np.mean(sampled)),
        n_averages=max(averages),
        echo=min(echoes),
    )


def _check_size(encoding: Encoding, kernel_width: int) -> None:
    """Decline a matrix that is too small for the calibration kernel."""
    try:
        check_matrix(_plane(encoding), kernel_width)
    except ValueError as error:
        raise UnsupportedScan(str(error)) from None


def _plane(encoding: Encoding) -> tuple[int, int]:
    """Return the LR matrix that is reconstructed at once: ``(y, x)``, of volumes ``(y, z)``."""
    nz, ny, _ = encoding.encoding_matrix
    n_columns = nz if encoding.is_3d else encoding.lr_readout_size or encoding.readout_size
    return (ny, n_columns)
