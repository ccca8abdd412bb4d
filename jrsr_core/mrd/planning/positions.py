"""Lines of one slice counter that lie at different places.

A converter that leaves the slice counter unset gives all slices one counter. Slices are parted by
their exact places if each place has all lines of an image, because slices may overlap. Other lines
lie in one slice if their normals are parallel, in either sense, and their distance along the normal
is below half the thickness; a patient whose motion is followed moves slices by less. Slices with
about as many lines each are parted by place, anything else is declined.
"""

from dataclasses import dataclass, field

import numpy as np

from jrsr_core.common.spelling import counted
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.lines.acquired import ENCODE_STEPS, IMAGE_COUNTERS
from jrsr_core.mrd.lines.distinct import distinct_rows
from jrsr_core.mrd.lines.geometry import MIN_COSINE

from .directions import check_directions

MIN_DISTANCE_MM = 0.5
EXACT_MM = 0.1
"""Distance up to which places are one where each place has all lines of an image."""

MAX_SHIFT = 0.25
"""Distance within the plane, in fields of view, up to which lines may belong to one image."""

MIN_SHARE = 0.5
"""Lines of a slice, relative to the slice with the most, that make it one."""

MAX_PLACES = 1024
"""Places at which the lines of one slice counter may lie: its slices, if it was left unset."""

FULL = 0.9
"""Part of the lines of an image that a slice has; one slice may have broken off."""

KINDS_PER_SLICE = 4
"""Ways in which the place of one slice may be written: opposite normals, rounded positions."""

_PLACE = ("position", "slice_dir")
_KEYS = (*ENCODE_STEPS, "average", *IMAGE_COUNTERS)


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
        slices = heads["idx"]["slice"][members] if numbers is None else numbers
        check_directions(heads[members], slices)
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
            f"lines of {counted(n_before, 'slice counter')} lie at {counted(n_after, 'place')}: "
            "each place is a slice of its own"
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
        parted = _parted_exactly(heads, kinds[group], group, member)
        if parted is None:
            parted = _parted(kinds[group], reach)
        if parted is None:
            raise UnsupportedScan(
                f"lines of slice counter {int(kinds[group[0], 0])} lie at more than {MAX_PLACES} "
                "places"
            )
        slices[group] = len(firsts) + parted
        for number in range(int(parted.max()) + 1):
            own = kinds[group[parted == number]]
            _check_shift(own, encoding)
            firsts.append(own[0])
    if len(firsts) == len(np.unique(kinds[:, 0])):
        return None
    steps = [heads["idx"][name] for name in ENCODE_STEPS]
    sizes = np.bincount(distinct_rows([slices[member], *steps]).rows[:, 0])
    if min(sizes) < MIN_SHARE * max(sizes):
        raise UnsupportedScan(
            f"lines of one slice counter lie at {len(firsts)} places with {min(sizes)} to "
            f"{max(sizes)} lines each: they make neither one image nor a stack of slices"
        )
    along = [float(first[1:4] @ firsts[0][4:7]) for first in firsts]
    order = sorted(range(len(firsts)), key=lambda s: (float(firsts[s][0]), along[s]))
    return np.argsort(order)[slices][member]


def _parted_exactly(
    heads: np.ndarray, kinds: np.ndarray, group: np.ndarray, member: np.ndarray
) -> np.ndarray | None:
    """Return the slice of each kind by its exact place; None unless each has all lines.

    `group` are the numbers of the `kinds`, of one slice counter, that `member` gives for each line.
    Lines whose motion is followed, too, lie at many places, but each of them at one place only.
    """
    if len(kinds) == 1:
        return None
    lines = np.flatnonzero((member >= group[0]) & (member <= group[-1]))
    keys = distinct_rows([heads["idx"][name][lines] for name in _KEYS])
    n_slices = 1 + len(lines) // max(1, int(FULL * len(keys.rows)))
    if len(kinds) > KINDS_PER_SLICE * n_slices:
        return None
    parted = _parted(kinds, EXACT_MM)
    if parted is None or not parted.any():
        return None
    places = parted[member[lines] - group[0]]
    n_keys = np.bincount(distinct_rows([places, keys.member]).rows[:, 0])
    n_full = int((n_keys >= FULL * len(keys.rows)).sum())
    return parted if n_full >= max(2, len(n_keys) - 1) else None


def _parted(kinds: np.ndarray, reach: float) -> np.ndarray | None:
    """Return the number of the slice of each kind of line; None for more than `MAX_PLACES`."""
    slices, rest, n_slices = np.zeros(len(kinds), np.int64), np.arange(len(kinds)), 0
    while len(rest):
        if n_slices == MAX_PLACES:
            return None
        is_same = _are_same_slice(kinds[rest[0]], kinds[rest], reach)
        # A row is in the slice that it begins, whatever its numbers are.
        is_same[0] = True
        slices[rest[is_same]] = n_slices
        n_slices, rest = n_slices + 1, rest[~is_same]
    return slices


def _are_same_slice(first: np.ndarray, kinds: np.ndarray, reach: float) -> np.ndarray:
    """Return for every row whether it lies in the slice of `first`."""
    distances, normals = kinds[:, 1:4] - first[1:4], kinds[:, 4:7]
    along = first[4:7]
    has_normal = np.any(normals, axis=1) & bool(along.any())
    is_near = np.linalg.norm(distances, axis=1) < reach
    # A set with a reversed encoding direction may have the opposite normal.
    is_in_plane = (np.abs(normals @ along) > MIN_COSINE) & (np.abs(distances @ along) < reach)
    return np.where(has_normal, is_in_plane, is_near)


def _check_shift(kinds: np.ndarray, encoding: Encoding) -> None:
    """Decline lines of one slice that lie too far apart within its plane."""
    shift = float(np.linalg.norm(kinds[1:, 1:4] - kinds[0, 1:4], axis=1).max(initial=0.0))
    if shift > MAX_SHIFT * max(encoding.encoding_fov_mm):
        raise UnsupportedScan(f"positions of lines of one image differ by {shift:.0f} mm")


def shared_place_note(heads: np.ndarray) -> str:
    """Return that different slices lie at one place; empty if each has a place of its own.

    `heads` are those of one line of each slice of an encoding space.
    """
    normal = heads["slice_dir"].astype(np.float64)
    # The outer product of a normal is that of its opposite.
    products = [normal[:, i] * normal[:, j] for i in range(3) for j in range(i, 3)]
    position = np.round(heads["position"].astype(np.float64), 2)
    table = np.column_stack([position, np.round(products, 2).T]) + 0.0
    kinds, member, _ = distinct_rows(list(table.T))
    n_here = np.bincount(member)
    if len(kinds) == len(heads):
        return ""
    where = ", ".join(f"{mm:g}" for mm in kinds[int(n_here.argmax()), :3])
    is_moved = np.ptp(heads["patient_table_position"], axis=0).any()
    return (
        f"{int(n_here[n_here > 1].sum())} of {len(heads)} slices share their position with another "
        f"one, as ({where}) mm: their images lie at one place, not in a stack (field position of "
        "the line headers" + ("; patient_table_position is not added)" if is_moved else ")")
    )
