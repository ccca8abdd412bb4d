"""The memory that an image needs, estimated before anything is allocated for it.

The sizes follow from the scan header, whose axes may be far larger than the lines that come.
Factors are peak memory on a CPU over the size of the arrays named, measured and rounded up.
"""

from dataclasses import dataclass

import numpy as np

from gadget.settings import Settings
from jrsr_core.acs import MAX_LINES
from jrsr_core.common.machine import physical_memory
from jrsr_core.common.spelling import counted
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.acquired import LINES_AT_ONCE, REJECTED, flag_bits

COMPLEX = 8
"""Bytes of a sample."""

COPIES = 3
"""Copies of the k-space of a slice while it is assembled: sum, its transpose, mean. A volume is
divided in place, but may be the sum of two parts."""

MAP_COPIES = 12
"""Arrays of the size of the HR maps that exist while a model computes."""

PIXEL_BYTES = 1000
"""Memory per HR pixel of the networks and images beside the maps."""

BLOCK_LINES = LINES_AT_ONCE * 4
"""Readouts of all coils that exist while a block of lines is brought to the grid."""

ACS_LINES = 2 * MAX_LINES**2
"""Readouts of all coils in the ACS of a volume, as read and in hybrid space."""

_REJECTED = np.uint64(flag_bits(*REJECTED))


@dataclass(frozen=True)
class ImageMemory:
    """Bytes of k-space that waits for reconstruction, `data`, and of all else, `work`."""

    data: int
    work: int

    @property
    def total(self) -> int:
        """Bytes for one image by itself."""
        return self.data + self.work

    def of(self, n_images: int) -> int:
        """Return the bytes for several images, of which one is computed at a time."""
        return n_images * self.data + self.work


def image_memory(encoding: Encoding, n_coils: int, settings: Settings) -> ImageMemory:
    """Estimate what an image of an encoding space needs: a slice, or the volume of a 3-D scan."""
    nz, ny, n_encoded = encoding.encoding_matrix
    nx = encoding.readout_size
    n_virtual = min(n_coils, settings.n_virtual_coils)
    block = COMPLEX * BLOCK_LINES * n_coils * n_encoded
    if not encoding.is_3d:
        n_kept = COMPLEX * n_coils * ny * nx
        work = _model_bytes(ny, encoding.lr_readout_size or nx, n_virtual)
        return ImageMemory(n_kept, (COPIES - 1) * n_kept + max(block, work))
    n_kept = COMPLEX * n_virtual * nz * ny * nx
    n_image = 4 * COMPLEX * nz * ny * nx
    at_once = min(settings.batch_size, nx)
    block += COMPLEX * ACS_LINES * n_coils * nx
    work = 2 * n_image + at_once * _model_bytes(ny, nz, n_virtual)
    return ImageMemory(n_kept, n_kept + max(block, work))


def _model_bytes(ny: int, nx: int, n_virtual: int) -> int:
    """Return the memory that maps and networks need for one slice of this LR matrix."""
    return 4 * ny * nx * (MAP_COPIES * COMPLEX * n_virtual + PIXEL_BYTES)


def check_memory(encoding: Encoding, n_coils: int, settings: Settings) -> None:
    """Raise `UnsupportedScan` if an image of an encoding space needs more than the machine has."""
    needed, there = image_memory(encoding, n_coils, settings).total, physical_memory()
    if needed > there:
        raise UnsupportedScan(
            f"{_needs(encoding, n_coils, needed)}, this machine has {mebibytes(there)}"
        )


def _needs(encoding: Encoding, n_coils: int, n_bytes: int) -> str:
    z, y, x = encoding.encoding_matrix
    size = f"{x} x {y} x {z} samples of {counted(n_coils, 'coil')}"
    return f"an image of {size} needs about {mebibytes(n_bytes)}"


class MemoryCheck:
    """Finds the largest image of a running scan, and declines one that can never fit.

    Parameters
    ----------
    limit
        Bytes that all scans together may use.
    """

    def __init__(self, header: ScanHeader, settings: Settings, limit: int) -> None:
        self.largest = ImageMemory(0, 0)
        self._encodings = header.encodings
        self._settings = settings
        self._limit = limit
        self._known: set[tuple[int, int]] = set()

    def add(self, heads: np.ndarray) -> bool:
        """Look at the headers of new lines; return whether `largest` has grown.

        Raises
        ------
        UnsupportedScan
            An image of these lines needs more memory than there is.
        """
        wanted = heads[heads["flags"] & _REJECTED == 0]
        pairs = zip(
            wanted["encoding_space_ref"].tolist(), wanted["active_channels"].tolist(), strict=True
        )
        before = self.largest
        for space, n_coils in set(pairs) - self._known:
            self._known.add((space, n_coils))
            # Lines of an encoding that the header lacks are an error elsewhere.
            if space < len(self._encodings):
                self._add(self._encodings[space], n_coils)
        return self.largest is not before

    def _add(self, encoding: Encoding, n_coils: int) -> None:
        needed = image_memory(encoding, n_coils, self._settings)
        if needed.total > self._limit:
            raise UnsupportedScan(
                f"{_needs(encoding, n_coils, needed.total)}, {mebibytes(self._limit)} may be used "
                "(jrsr serve --max-memory)"
            )
        if needed.total > self.largest.total:
            self.largest = needed

    def check_acs(self, n_bytes: int) -> None:
        """Decline a scan if the ACS of its slices, ``n_bytes``, leaves no room for an image.

        Raises
        ------
        UnsupportedScan
            ACS and image together need more memory than there is.
        """
        if n_bytes + self.largest.total > self._limit:
            raise UnsupportedScan(
                f"the ACS of the slices so far takes {mebibytes(n_bytes)} and an image needs about "
                f"{mebibytes(self.largest.total)}, {mebibytes(self._limit)} may be used "
                "(jrsr serve --max-memory)"
            )

    def images_at_once(self, wanted: int) -> int:
        """Return how many images may be held at once: those wanted, or as many as fit."""
        spare = self._limit - self.largest.work
        return max(1, min(wanted, spare // max(self.largest.data, 1)))


def mebibytes(n_bytes: int) -> str:
    """Return a size in MiB."""
    return f"{n_bytes / 2**20:.0f} MiB"
