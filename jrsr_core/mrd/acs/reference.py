"""Lines of a reference scan (separate or external) that calibrate a slice.

Counters of a reference start anywhere: the middle of its acquired block is k = 0, unless an
encoding space of its own gives the centre. 2-D slices take the reference slice at their place, or
lie in a slab of a 3-D reference; slabs of a 3-D scan take the reference of the same slice counter.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from jrsr_core.mrd.header.encoding import Encoding, PhaseEncodeGrid
from jrsr_core.mrd.lines.acquired import IMAGE_COUNTERS
from jrsr_core.mrd.lines.distinct import distinct_rows
from jrsr_core.mrd.lines.readout import LineLayout

from .lines import CalibrationLines
from .place import Misplaced, are_parallel, offset_of, place_in_volume, slice_at

NO_OFFSET = 1e-3
"""Distance of two centres, in fields of view, up to which they are one."""


@dataclass(frozen=True, eq=False)
class ReferenceScan:
    """Indices of the lines of a reference scan, headers of all lines, all encoding spaces."""

    heads: np.ndarray
    lines: np.ndarray
    layouts: tuple[LineLayout, ...]

    def lines_for(self, image: int, images: np.ndarray) -> CalibrationLines | None:
        """Return the lines for the slice of the line `image`; None where there are none.

        `images` are the indices of one line of every slice of the same encoding space.

        Raises
        ------
        Misplaced
            The reference does not contain the slice, or has other axes.
        """
        if not len(self.lines):
            return None
        encoding = self._layout(image).encoding
        numbers = self.heads["idx"]["slice"]
        own = self.lines[numbers[self.lines] == numbers[image]]
        if encoding.is_3d:
            return self._placed(own, image) if len(own) else None
        slabs = own if len(own) else self.lines[self._is_volume()]
        if len(slabs) and not (len(own) and self._is_plane(own)):
            return self._in_volume(slabs, image)
        thickness_mm = max(e.recon_fov_mm[0] for e in (self._scanned, encoding))
        lines, is_known = slice_at(self.heads, self.lines, image, images, thickness_mm)
        if not len(lines) or not self._is_plane(lines):
            return None
        return self._placed(lines, image, is_known=is_known)

    def _layout(self, line: int) -> LineLayout:
        return self.layouts[self.heads["encoding_space_ref"][line]]

    @property
    def _scanned(self) -> Encoding:
        return self._layout(self.lines[0]).encoding

    def _is_volume(self) -> np.ndarray:
        """Return a boolean per line: whether its encoding space is 3-D."""
        is_3d = np.array([layout.encoding.is_3d for layout in self.layouts])
        return is_3d[self.heads["encoding_space_ref"][self.lines]]

    def _is_plane(self, lines: np.ndarray) -> bool:
        return np.ptp(self.heads["idx"]["kspace_encode_step_2"][lines]) == 0

    def _placed(self, lines: np.ndarray, image: int, *, is_known: bool = True) -> CalibrationLines:
        """Return lines of a plane or slab with its offset, which is 0 unless `is_known`."""
        chosen = self._first_image(lines, image)
        first, line = self.heads[chosen.lines[0]], self.heads[image]
        if not are_parallel(first, line):
            raise Misplaced("reference of another orientation")
        z, y, x = chosen.encoding.acquired_fov_mm
        # The nearest slice is taken as it is: what is left of the distance is no offset.
        fov_mm = (z if chosen.image.is_3d else math.inf, y, x)
        offset = offset_of(first, line, fov_mm) if is_known else chosen.offset
        return chosen if max(map(abs, offset)) < NO_OFFSET else replace(chosen, offset=offset)

    def _in_volume(self, slabs: np.ndarray, image: int) -> CalibrationLines:
        """Return the lines of the nearest slab with the place of the slice in it."""
        heads = self.heads
        numbers = heads["idx"]["slice"][slabs]
        along = heads["slice_dir"][image].astype(np.float64)
        distance = np.abs((heads["position"][slabs] - heads["position"][image]) @ along)
        volume = self._first_image(slabs[numbers == numbers[distance.argmin()]], image)
        offset = place_in_volume(heads[volume.lines[0]], volume.encoding, heads[image])
        return replace(volume, kind="volume", offset=offset)

    def _first_image(self, lines: np.ndarray, image: int) -> CalibrationLines:
        """Return the lines of the first image among these, on a grid that holds them."""
        idx = self.heads["idx"][lines]
        counters = [idx[name] for name in IMAGE_COUNTERS]
        lines = lines[distinct_rows(counters).member == 0]
        layout, wanted = self._layout(lines[0]), self._layout(image).encoding
        centers: tuple[int | None, int | None] = (None, None)
        if layout.encoding is not wanted:
            centers = (layout.encoding.center_line, layout.encoding.center_partition)
        (ny, line), (nz, partition) = (
            _axis(self.heads["idx"][f"kspace_encode_step_{i}"][lines], center)
            for i, center in zip((1, 2), centers, strict=True)
        )
        grid = PhaseEncodeGrid(ny, nz, line, partition)
        return CalibrationLines("reference", lines, layout, grid, wanted)


def _axis(counters: np.ndarray, center: int | None) -> tuple[int, int]:
    """Return the size of a grid that holds these counters, and the counter of k = 0."""
    low, high = int(counters.min()), int(counters.max())
    if center is None or not low <= center <= high:
        return high - low + 1, low + (high - low + 1) // 2
    # Symmetric about the centre: n//2 below it, n - 1 - n//2 above.
    return max(2 * (center - low), 2 * (high - center) + 1), center
