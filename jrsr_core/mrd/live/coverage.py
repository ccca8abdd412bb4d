"""How much of k-space the lines of one image cover, so that a flag of its last line can be judged.

A flag that says "last line" comes too early in some scans: at the end of every partition (GE,
MaRCoS), of every shot, or on every line where lines of slices are interleaved. Two questions tell
such a flag from the right one:

reaches_edges   Have both phase encodes come into the outer half on either side of the centre, the
                segments to their last one, and is the centre as dense as the acceleration allows?
is_whole        Is every line of the encoded matrix there?

The first is asked of a scan whose flags have not been wrong so far; partial Fourier, random and
regular undersampling answer it with yes at their last line. The second is asked afterwards; an
undersampled scan then waits for its end, because the header does not state how many lines it has.
"""

from jrsr_core.mrd.header.encoding import Encoding

CENTER_SHARE = 8
"""The centre is this part of the lines."""


class Coverage:
    """Counts the lines of one image."""

    def __init__(self, encoding: Encoding) -> None:
        grid = encoding.grid
        self._encoding = encoding
        self._lines = _Axis(
            encoding.line_limits, grid.center_line, grid.ny, encoding.acceleration[0]
        )
        self._partitions = _Axis(
            encoding.partition_limits, grid.center_partition, grid.nz, encoding.acceleration[1]
        )
        self._seen: set[tuple[int, int]] = set()
        self._last_segment = 0

    def add(self, line: int, partition: int, segment: int) -> None:
        """Count a line by its counters."""
        self._seen.add((line, partition if self._encoding.is_3d else 0))
        self._last_segment = max(self._last_segment, segment)
        self._lines.add(line)
        self._partitions.add(partition)

    @property
    def reaches_edges(self) -> bool:
        """Whether the lines may be all of a scan that has this header."""
        if self._last_segment < self._encoding.max_segment:
            return False
        axes = (self._lines, self._partitions) if self._encoding.is_3d else (self._lines,)
        return all(axis.reaches_edges for axis in axes)

    @property
    def share(self) -> float:
        """Lines that are there over those of the encoded matrix, at most 1.

        It compares images, also of different encoding spaces: equal ratios give equal numbers.
        """
        grid = self._encoding.grid
        return min(1.0, len(self._seen) / (grid.ny * grid.nz))

    @property
    def is_whole(self) -> bool:
        """Whether every line of the encoded matrix is there."""
        return self.share == 1.0


class _Axis:
    """Counters along one phase encode: the smallest, the largest, and those near the centre."""

    def __init__(
        self, limits: tuple[int, int] | None, center: int, n: int, acceleration: int
    ) -> None:
        self._first, self._last = limits or (center - n // 2, center - n // 2 + n - 1)
        self._center, self._acceleration = center, max(1, acceleration)
        # Even, so that every second line is half of it.
        self._reach = max((self._last - self._first + 1) // (2 * CENTER_SHARE), self._acceleration)
        self._low, self._high = 2**16, -1
        self._central: set[int] = set()

    def add(self, counter: int) -> None:
        self._low, self._high = min(self._low, counter), max(self._high, counter)
        if -self._reach <= counter - self._center < self._reach:
            self._central.add(counter)

    @property
    def reaches_edges(self) -> bool:
        step = self._acceleration - 1
        is_wide = (
            2 * (self._low - step) <= self._first + self._center
            and 2 * (self._high + step) >= self._center + self._last
        )
        return is_wide and self._is_dense

    @property
    def _is_dense(self) -> bool:
        """Whether more than half of the central lines are there that the acceleration leaves."""
        first = max(self._first, self._center - self._reach)
        last = min(self._last, self._center + self._reach - 1)
        return 2 * len(self._central) * self._acceleration > last - first + 1
