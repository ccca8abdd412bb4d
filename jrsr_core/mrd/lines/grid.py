"""Where lines lie in k-space, and how often each place was measured.

Line idx lies at row idx - center + ny//2 of the encoded matrix (at row idx where the header gives
no centre), and likewise along the second phase encode; one place is the pair (ky, kz), counted as
``ky * nz + kz``. A 2-D scan has nz = 1. Rows never measured (acceleration, partial Fourier,
partial matrix) are zero in the mask.
"""

import numpy as np

from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.encoding import Encoding, PhaseEncodeGrid

from .acquired import ENCODE_STEPS, only_calibrates
from .readout import LineLayout, measured_spans

READOUT_FIELDS = ("number_of_samples", "center_sample", "discard_pre", "discard_post", "flags")


def sampling_pattern(heads: np.ndarray) -> bytes:
    """Return a key that is equal for the lines of images with the same sampling."""
    columns = (
        *(heads["idx"][name] for name in ENCODE_STEPS),
        *(heads[name] for name in READOUT_FIELDS),
    )
    return b"".join(column.tobytes() for column in columns)


def line_offsets(heads: np.ndarray, grid: PhaseEncodeGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of every line from k = 0 along ky and kz, int64."""
    y, z = (heads["idx"][name].astype(np.int64) for name in ENCODE_STEPS)
    return y - grid.center_line, z - grid.center_partition


def line_places(heads: np.ndarray, grid: PhaseEncodeGrid) -> np.ndarray:
    """Return the place of every line, int64; -1 for lines outside the grid."""
    y, z = line_offsets(heads, grid)
    y, z = y + grid.ny // 2, z + grid.nz // 2
    inside = (y >= 0) & (y < grid.ny) & (z >= 0) & (z < grid.nz)
    return np.where(inside, y * grid.nz + z, -1)


def central_line(heads: np.ndarray, grid: PhaseEncodeGrid) -> int:
    """Return the index of the line nearest k = 0 whose time is that of the image.

    Lines that only calibrate may have been measured before it; they count where there are no
    others.
    """
    y, z = line_offsets(heads, grid)
    distance = y**2 + z**2
    only = only_calibrates(heads)
    if only.any() and not only.all():
        distance = np.where(only, np.iinfo(np.int64).max, distance)
    return int(distance.argmin())


def plane_counts(heads: np.ndarray, grid: PhaseEncodeGrid) -> np.ndarray:
    """Return how often every place was measured, float32 ``(ny, nz)``."""
    places = line_places(heads, grid)
    counts = np.bincount(places[places >= 0], minlength=grid.ny * grid.nz)
    return counts.astype(np.float32).reshape(grid.ny, grid.nz)


def sample_counts(heads: np.ndarray, grid: PhaseEncodeGrid, layout: LineLayout) -> np.ndarray:
    """Return how often every sample was measured, float32 ``(ny * nz, nx)``.

    Readouts may be partial, so samples of one line may differ.
    """
    counts = np.zeros((grid.ny * grid.nz, layout.encoding.readout_size), np.float32)
    for members, span in measured_spans(heads, layout):
        counts[:, span] += plane_counts(heads[members], grid).reshape(-1, 1)
    return counts


def line_counts(heads: np.ndarray, layout: LineLayout) -> np.ndarray:
    """Return how often every sample ``(ky, kx)``, in 3-D every place ``(ky, kz)``, was measured."""
    encoding, grid = layout.encoding, layout.encoding.grid
    return plane_counts(heads, grid) if encoding.is_3d else sample_counts(heads, grid, layout)


def check_lines(heads: np.ndarray, encoding: Encoding) -> None:
    """Raise `UnsupportedScan` if no line of an image lies on the encoded matrix."""
    if (line_places(heads, encoding.grid) >= 0).any():
        return
    steps = [heads["idx"][name] for name in ENCODE_STEPS]
    lines, partitions = (f"{int(step.min())}..{int(step.max())}" for step in steps)
    if encoding.is_3d:
        lines += f", partitions {partitions}"
    size = grid_size_text(encoding.grid)
    raise UnsupportedScan(f"lines {lines} lie outside the encoded matrix of {size}")


def grid_size_text(grid: PhaseEncodeGrid) -> str:
    """Return the size of the phase-encode plane in words."""
    return f"{grid.ny} lines" + (f" x {grid.nz} partitions" if grid.nz > 1 else "")
