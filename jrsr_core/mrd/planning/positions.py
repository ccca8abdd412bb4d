"""Lines of one slice counter that lie at different places, or run in different directions.

A converter that leaves the slice counter unset gives all slices one counter. Lines lie in one slice
if their normals are parallel and their distance along the normal is below half the thickness; a
patient whose motion is followed moves slices by less. Slices with about as many lines each are
parted by place, anything else is declined.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from jrsr_core.mrd.distinct import distinct_rows
from jrsr_core.mrd.encoding import Encoding
from jrsr_core.mrd.errors import UnsupportedScan

MAX_ANGLE_DEG = 10.0
"""Rotation that motion correction may apply to lines of one slice."""

MIN_DISTANCE_MM = 0.5
MAX_SHIFT = 0.25
"""Distance within the plane, in fields of view, up to which lines may belong to one image."""

MIN_SHARE = 0.5
"""Lines of a slice, relative to the slice with the most, that make it one."""

MAX_PLACES = 1024
"""Places at which the lines of one slice counter may lie: its slices, if it was left unset."""

_COSINE = math.cos(math.radians(MAX_ANGLE_DEG))
_PLACE = ("position", "slice_dir", "read_dir")


@dataclass(frozen=True)
class SplitSlices:
    """Slice numbers of lines after lines at different places were parted.

    Attributes
    ----------
    heads
        Headers with the new slice counters; those of the scan where nothing was parted.
    counters
        The counter in the lines, by (encoding space, new slice number); empty for the others.
    notes
        One sentence by encoding space that was changed.
    """

    heads: np.ndarray
    counters: dict[tuple[int, int], int] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)


def split_slices(
    heads: np.ndarray, lines: np.ndarray, encodings: tuple[Encoding, ...]
) -> SplitSlices:
    """Part the lines of a scan that have one slice counter and lie at different places.

    Parameters
    ----------
    heads
        Headers of all lines.
    lines
        Indices of the lines of images, or of those of a reference scan.

    Raises
    ------
    UnsupportedScan
        Lines of one image in different directions, or at places that make no stack of slices.
    """
    found = SplitSlices(heads)
    for space in np.unique(heads["encoding_space_ref"][lines]).tolist():
        members = lines[heads["encoding_space_ref"][lines] == space]
        numbers = _slice_numbers(heads[members], encodings[space])
        if numbers is None:
            continue
        if found.heads is heads:
            found = SplitSlices(heads.copy(), found.counters, found.notes)
        old = heads["idx"]["slice"][members]
        found.heads["idx"]["slice"][members] = numbers
        new, first = np.unique(numbers, return_index=True)
        for number, counter in zip(new.tolist(), old[first].tolist(), strict=True):
            found.counters[space, number] = counter
        n_before, n_after = len(np.unique(old)), len(new)
        found.notes[space] = (
            f"lines of {n_before} slice counter{'s' if n_before > 1 else ''} lie at {n_after} "
            "places: each place is a slice of its own"
        )
    return found


def _slice_numbers(heads: np.ndarray, encoding: Encoding) -> np.ndarray | None:
    """Return a slice number per line, in the order of their place; None if counters are right."""
    places = [column for name in _PLACE for column in heads[name].T]
    kinds, member, _ = distinct_rows([heads["idx"]["slice"].astype(np.float32), *places])
    reach = max(encoding.recon_fov_mm[0] / 2, MIN_DISTANCE_MM)
    firsts: list[np.ndarray] = []
    slices = np.zeros(len(kinds), np.int64)
    # Rows are sorted by their counter, which is the first column.
    for group in np.split(np.arange(len(kinds)), np.flatnonzero(np.diff(kinds[:, 0])) + 1):
        n_before, rest = len(firsts), group
        while len(rest):
            if len(firsts) - n_before == MAX_PLACES:
                number = int(kinds[group[0], 0])
                raise UnsupportedScan(
                    f"lines of slice counter {number} lie at more than {MAX_PLACES} places"
                )
            first = kinds[rest[0]]
            is_same = _are_same_slice(first, kinds[rest], reach)
            # A row is in the slice that it begins, whatever its numbers are.
            is_same[0] = True
            _check_image(first, kinds[rest[is_same][1:]], encoding)
            slices[rest[is_same]] = len(firsts)
            firsts.append(first)
            rest = rest[~is_same]
    if len(firsts) == len(np.unique(kinds[:, 0])):
        return None
    steps = [heads["idx"][f"kspace_encode_step_{i}"] for i in (1, 2)]
    sizes = np.bincount(distinct_rows([slices[member], *steps]).rows[:, 0])
    if min(sizes) < MIN_SHARE * max(sizes):
        raise UnsupportedScan(
            f"lines of one slice counter lie at {len(firsts)} places with {min(sizes)} to "
            f"{max(sizes)} lines each: they make neither one image nor a stack of slices"
        )
    along = [float(first[1:4] @ firsts[0][4:7]) for first in firsts]
    order = sorted(range(len(firsts)), key=lambda s: (float(firsts[s][0]), along[s]))
    return np.argsort(order)[slices][member]


def _are_same_slice(first: np.ndarray, kinds: np.ndarray, reach: float) -> np.ndarray:
    """Return for every row whether it lies in the slice of `first`."""
    distances, normals = kinds[:, 1:4] - first[1:4], kinds[:, 4:7]
    along = first[4:7]
    has_normal = np.any(normals, axis=1) & bool(along.any())
    is_near = np.linalg.norm(distances, axis=1) < reach
    is_in_plane = (normals @ along > _COSINE) & (np.abs(distances @ along) < reach)
    return np.where(has_normal, is_in_plane, is_near)


def _check_image(first: np.ndarray, kinds: np.ndarray, encoding: Encoding) -> None:
    """Decline lines of one slice that cannot be lines of one image with those of `first`."""
    readouts = kinds[kinds[:, 7:10].any(axis=1), 7:10] if first[7:10].any() else kinds[:0, 7:10]
    cosine = float((readouts @ first[7:10]).min(initial=1.0))
    if cosine < _COSINE:
        angle = math.degrees(math.acos(max(cosine, -1.0)))
        raise UnsupportedScan(
            f"readout directions of lines of one image differ by {angle:.0f} degrees"
        )
    shift = float(np.linalg.norm(kinds[:, 1:4] - first[1:4], axis=1).max(initial=0.0))
    if shift > MAX_SHIFT * max(encoding.encoding_fov_mm):
        raise UnsupportedScan(f"positions of lines of one image differ by {shift:.0f} mm")
