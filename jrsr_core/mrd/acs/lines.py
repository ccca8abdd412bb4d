"""Which lines calibrate the coils of a slice, and the ACS they make.

shared     the centre of the k-space of one image (embedded calibration lines are part of it), for
           all contrasts, phases, repetitions and sets of its slice
frames     interleaved calibration (TPAT): every frame is undersampled, their average is not;
           Breuer et al., MRM 2005;53:981
reference  a separate or external scan: its counters start anywhere, so the middle of the acquired
           block is k = 0 unless an encoding space of its own says otherwise; of the same axes, its
           slices matched by place: see `reference_place`
volume     a 3-D reference of 2-D slices: see `reference_volume`

All images of a slice share one ACS, hence one set of coil maps. It comes from the first
repetitions that can give one: a scan that is still going on cannot wait for the others.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from jrsr_core.calibration.acs import find_acs
from jrsr_core.data import Counters, Encoding, PhaseEncodeGrid, Vector
from jrsr_core.mrd.grid import line_counts, plane_counts, sample_counts
from jrsr_core.mrd.lines import CALIBRATION, CALIBRATION_AND_IMAGING, has_flag
from jrsr_core.mrd.readout import LineLayout

from .reference import Misplaced, are_parallel, offset_of, place_in_volume, slice_at

SEPARATE = ("separate", "external")
"""Calibration modes with reference lines that are no image lines."""

MAX_REPETITIONS = 16
"""Repetitions that are waited for until their average gives an ACS."""

MIN_LINES = 6
"""A frame with fewer central lines is not calibrated from itself while others could help."""


NO_OFFSET = 1e-3
"""Distance of two centres, in fields of view, up to which they are one."""


@dataclass(frozen=True, eq=False)
class CalibrationLines:
    """Lines of one ACS: `kind` is shared, frames, reference or volume; `grid` where they lie.

    `offset` is the place of the image in a reference, see `offset_of` and `place_in_volume`.
    """

    kind: str
    lines: np.ndarray
    layout: LineLayout
    grid: PhaseEncodeGrid
    offset: Vector = (0.0, 0.0, 0.0)

    @property
    def encoding(self) -> Encoding:
        """Encoding of the lines; not that of the image where the reference has its own."""
        return self.layout.encoding


def choose_calibration_lines(
    heads: np.ndarray,
    groups: dict[Counters, np.ndarray],
    reference: np.ndarray,
    spaces: tuple[LineLayout, ...],
    rejected: dict[str, int],
) -> dict[tuple[int, int], CalibrationLines]:
    """Return the calibration lines of every (encoding space, slice).

    `reference` are lines of separate scans, `spaces` all encoding spaces of the header. Reference
    lines that cannot serve are added to `rejected`, with the reason.
    """
    chosen = {}
    images = {(c.encoding, c.slice): lines[0] for c, lines in reversed(groups.items())}
    for space, number in sorted(images):
        frames = {c: x for c, x in groups.items() if (c.encoding, c.slice) == (space, number)}
        image = images[space, number]
        others = np.array([line for (other, _), line in images.items() if other == space])
        nearest = _nearest(heads, reference, space)
        try:
            found = _of_references(heads, nearest, image, others, spaces)
        except Misplaced as error:
            found, rejected[str(error)] = None, len(reference)
        chosen[space, number] = found or _of_frames(heads, spaces[space], frames)
    return chosen


def _nearest(heads: np.ndarray, reference: np.ndarray, space: int) -> np.ndarray:
    """Return the reference lines of the same encoding space where it has some, else all."""
    same = heads["encoding_space_ref"][reference] == space
    return reference[same] if same.any() else reference


def _of_references(
    heads: np.ndarray,
    reference: np.ndarray,
    image: int,
    images: np.ndarray,
    spaces: tuple[LineLayout, ...],
) -> CalibrationLines | None:
    """Return the reference for the slice of the line `image`; None where there is none.

    `images` has a line of every slice of the same encoding space.
    """
    if not len(reference):
        return None
    encoding = spaces[heads["encoding_space_ref"][image]].encoding
    own = reference[heads["idx"]["slice"][reference] == heads["idx"]["slice"][image]]
    if encoding.is_3d:
        return _placed(heads, own, image, encoding, spaces) if len(own) else None
    is_volume = np.array([s.encoding.is_3d for s in spaces])[heads["encoding_space_ref"][reference]]
    slabs = own if len(own) else reference[is_volume]
    if len(slabs) and not (len(own) and _is_plane(heads, own)):
        return _of_volume(heads, slabs, image, encoding, spaces)
    scanned = spaces[heads["encoding_space_ref"][reference[0]]].encoding
    thickness = max(e.recon_fov_mm[0] for e in (scanned, encoding))
    lines, is_known = slice_at(heads, reference, image, images, thickness)
    if not len(lines) or not _is_plane(heads, lines):
        return None
    return _placed(heads, lines, image, encoding, spaces, is_known=is_known)


def _is_plane(heads: np.ndarray, lines: np.ndarray) -> bool:
    return np.ptp(heads["idx"]["kspace_encode_step_2"][lines]) == 0


def _placed(
    heads: np.ndarray,
    lines: np.ndarray,
    image: int,
    encoding: Encoding,
    spaces: tuple[LineLayout, ...],
    *,
    is_known: bool = True,
) -> CalibrationLines:
    """Return a reference as the line `image` sees it; its place counts where `is_known`."""
    chosen = _of_reference(heads, lines, encoding, spaces)
    first = chosen.lines[0]
    if not are_parallel(heads[[first]], heads[image]).all():
        raise Misplaced("reference of another orientation")
    fov = chosen.encoding.acquired_fov_mm
    # A slice is taken as it is: what is left of the distance is less than the next one's.
    fov = fov if encoding.is_3d else (math.inf, *fov[1:])
    offset = offset_of(heads[first], heads[image], fov) if is_known else chosen.offset
    return chosen if max(map(abs, offset)) < NO_OFFSET else replace(chosen, offset=offset)


def _of_volume(
    heads: np.ndarray, slabs: np.ndarray, image: int, encoding: Encoding, spaces: tuple
) -> CalibrationLines:
    """Place the slice of the line `image` in the nearest slab of a 3-D reference."""
    numbers = heads["idx"]["slice"][slabs]
    along = heads["slice_dir"][image].astype(np.float64)
    distance = np.abs((heads["position"][slabs] - heads["position"][image]) @ along)
    lines = slabs[numbers == numbers[distance.argmin()]]
    volume = _of_reference(heads, lines, encoding, spaces)
    offset = place_in_volume(heads[volume.lines[0]], volume.encoding, heads[image])
    return replace(volume, kind="volume", offset=offset)


def _of_reference(
    heads: np.ndarray, lines: np.ndarray, image: Encoding, spaces: tuple[LineLayout, ...]
) -> CalibrationLines:
    names = ("repetition", "set", "phase", "contrast")
    keys = np.stack([heads["idx"][name][lines] for name in names], axis=-1)
    lines = lines[(keys == np.unique(keys, axis=0)[0]).all(-1)]
    layout = spaces[int(heads["encoding_space_ref"][lines[0]])]
    own = layout.encoding if layout.encoding is not image else None
    axes = [
        _axis(heads["idx"]["kspace_encode_step_1"][lines], own and own.center_line),
        _axis(heads["idx"]["kspace_encode_step_2"][lines], own and own.center_partition),
    ]
    (ny, line), (nz, partition) = axes
    return CalibrationLines("reference", lines, layout, PhaseEncodeGrid(ny, nz, line, partition))


def _axis(counters: np.ndarray, center: int | None) -> tuple[int, int]:
    """Size of a grid that holds these counters, and the counter of k = 0."""
    low, high = int(counters.min()), int(counters.max())
    if center is None or not low <= center <= high:
        return high - low + 1, low + (high - low + 1) // 2
    # Symmetric about the centre: n//2 below it, n - 1 - n//2 above.
    return max(2 * (center - low), 2 * (high - center) + 1), center


def _of_frames(
    heads: np.ndarray, layout: LineLayout, frames: dict[Counters, np.ndarray]
) -> CalibrationLines:
    """Take the first repetitions that give an ACS, or what there is."""
    repetitions = sorted({c.repetition for c in frames})[:MAX_REPETITIONS]
    for last in repetitions:
        known = {c: lines for c, lines in frames.items() if c.repetition <= last}
        chosen, size = _of_known_frames(heads, layout, known)
        if min(size) >= MIN_LINES:
            break
    return chosen


def _of_known_frames(
    heads: np.ndarray, layout: LineLayout, frames: dict[Counters, np.ndarray]
) -> tuple[CalibrationLines, tuple[int, int]]:
    """Return the best frame, or the average of the frames where each is undersampled."""
    sizes = {c: _size(heads, lines, layout) for c, lines in frames.items()}
    best = max(sizes, key=lambda c: math.prod(sizes[c]))
    grid = layout.encoding.grid
    if layout.encoding.calibration_mode == "interleaved" or min(sizes[best]) < MIN_LINES:
        merged = _merged(heads, frames, best)
        size = _size(heads, merged, layout)
        if math.prod(size) > math.prod(sizes[best]):
            return CalibrationLines("frames", merged, layout, grid), size
    return CalibrationLines("shared", frames[best], layout, grid), sizes[best]


def _size(heads: np.ndarray, lines: np.ndarray, layout: LineLayout) -> tuple[int, int]:
    return acs_size(line_counts(heads[lines], layout))


def _merged(heads: np.ndarray, frames: dict[Counters, np.ndarray], like: Counters) -> np.ndarray:
    """Calibration lines of all repetitions and phases of one contrast and set; all if unflagged."""
    same = [
        lines for c, lines in frames.items() if (c.contrast, c.set) == (like.contrast, like.set)
    ]
    lines = np.sort(np.concatenate(same))
    flagged = has_flag(heads[lines], CALIBRATION) | has_flag(heads[lines], CALIBRATION_AND_IMAGING)
    return lines[flagged] if flagged.any() else lines


def acs_size(counts: np.ndarray) -> tuple[int, int]:
    """Size of the largest fully sampled centre; (0, 0) without one."""
    try:
        rows, columns = find_acs(counts)
    except ValueError:
        return (0, 0)
    return (rows.stop - rows.start, columns.stop - columns.start)


def calibration_size(heads: np.ndarray, chosen: CalibrationLines, image: Encoding) -> tuple:
    """ACS size ``(ay, ax)``, in 3-D ``(ay, az)``, that `read_block` will find; reads no sample."""
    size = acs_size(calibration_counts(heads[chosen.lines], chosen, image))
    if chosen.kind == "volume" and min(size):
        size = (size[0], chosen.encoding.readout_size)
    if chosen.kind not in ("reference", "volume"):
        return size
    ratios = fov_ratios(chosen.encoding, image)
    ratios = (ratios[1], ratios[0] if image.is_3d else ratios[2])
    limits = _limits(image)
    return tuple(min(scaled_size(n, r), m) for n, r, m in zip(size, ratios, limits, strict=True))


def calibration_counts(heads: np.ndarray, chosen: CalibrationLines, image: Encoding) -> np.ndarray:
    """How often samples ``(ky, kx)``, in 3-D places ``(ky, kz)``, of the ACS were measured."""
    if image.is_3d or chosen.kind == "volume":
        return plane_counts(heads, chosen.grid)
    return sample_counts(heads, chosen.grid, chosen.layout)


def _limits(image: Encoding) -> tuple[int, int]:
    nz, ny, _ = image.encoding_matrix
    return (ny, nz if image.is_3d else image.readout_size)


def fov_ratios(encoding: Encoding, image: Encoding) -> tuple[float, float, float]:
    """Field of view of the image over that of the reference ``(z, y, x)``; 1 if nearly equal."""
    ratios = [b / a for a, b in zip(encoding.acquired_fov_mm, image.acquired_fov_mm, strict=True)]
    if not image.is_3d:
        ratios[0] = 1.0
    return tuple(1.0 if abs(r - 1) < 1e-3 else r for r in ratios)


def scaled_size(n: int, ratio: float) -> int:
    """Return the samples of an axis once its field of view has changed."""
    return n if ratio == 1 else math.floor(n * ratio + 1e-6)
