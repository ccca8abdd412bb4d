"""What a scan contains and whether it is reconstructed, decided from header and line headers alone.

One image per (encoding space, repetition, set, phase, contrast, slice), in this nesting, slices
fastest; in 3-D one volume per slab. The segment counter is ignored and repeated lines count as
averages: in a Cartesian scan both only say when a line was measured.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from jrsr_core.data import Counters
from jrsr_core.mrd.acs.choose import choose_calibration_lines
from jrsr_core.mrd.acs.lines import MIN_LINES, CalibrationLines
from jrsr_core.mrd.distinct import distinct_rows
from jrsr_core.mrd.encoding import Encoding
from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.geometry import check_places, direction_note
from jrsr_core.mrd.header import ScanHeader
from jrsr_core.mrd.lines import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    PHASE_CORRECTION,
    REVERSE,
    has_flag,
    sort_lines,
)
from jrsr_core.mrd.readout import LineLayout

from .completeness import Patterns, incomplete_images
from .findings import NO_FINDINGS, ScanFindings
from .kinds import check_encoding, flatten_encodings
from .positions import split_slices
from .received import COPIES, of_the_receiver, without_copies

NESTING = ("repetition", "set", "phase", "contrast", "slice")


@dataclass(frozen=True, eq=False)
class ScanPlan:
    """The images of a scan and the lines that make each of them; lines are given by index.

    Attributes
    ----------
    layouts
        The encoding spaces of the header with what was found about their lines.
    groups
        Image lines, by the counters of the image.
    noise
        Noise lines.
    n_coils
        Receive channels of every line.
    rejected
        Number of lines that are not used, by reason.
    calibration
        Lines of the ACS that images share, by (encoding space, slice number).
    notes
        What was decided against the header, one sentence each, by encoding space.
    incomplete
        Images that are not reconstructed by a model, with the reason.
    broken_coils
        Channels that are not used.
    line_slices
        Slice counter in the lines, by (encoding space, slice number), where it is another number.
    """

    header: ScanHeader
    layouts: tuple[LineLayout, ...]
    groups: dict[Counters, np.ndarray]
    noise: np.ndarray
    n_coils: int
    rejected: dict[str, int] = field(default_factory=dict)
    calibration: dict[tuple[int, int], CalibrationLines] = field(default_factory=dict)
    notes: dict[int, tuple[str, ...]] = field(default_factory=dict)
    incomplete: dict[Counters, str] = field(default_factory=dict)
    broken_coils: frozenset[int] = frozenset()
    line_slices: dict[tuple[int, int], int] = field(default_factory=dict)

    def line_slice(self, counters: Counters) -> int:
        """Return the slice counter that the lines of an image have."""
        return self.line_slices.get(counters.slice_key, counters.slice)

    @cached_property
    def spaces(self) -> list[int]:
        """Encoding spaces that have images, in ascending order."""
        return sorted({counters.encoding for counters in self.groups})

    def encoding_of(self, counters: Counters) -> Encoding:
        """Return the encoding of an image."""
        return self.header.encodings[counters.encoding]

    def layout_of(self, counters: Counters) -> LineLayout:
        """Return the encoding of an image with what was found about its lines."""
        return self.layouts[counters.encoding]


def plan_scan(
    header: ScanHeader,
    heads: np.ndarray,
    findings: ScanFindings = NO_FINDINGS,
    earlier: Patterns | None = None,
) -> ScanPlan:
    """Find the images of a scan.

    Every encoding space that has image lines gives images of its own. Of several spaces those that
    make no image are set aside with the reason.

    Parameters
    ----------
    findings
        Findings of `examine`, which are followed where they differ from the header.
    earlier
        Sampling of images whose lines are gone (a running scan); that of the others is added.

    Raises
    ------
    UnsupportedScan
        No image lines, or a kind of scan that is declined.
    BadScan
        Counters that contradict the header.
    """
    lines, noise, rejected = sort_lines(heads)
    if not len(lines):
        counts = ", ".join(f"{n} {name}" for name, n in rejected.items())
        raise UnsupportedScan(
            f"no image lines among {len(heads)} acquisitions ({len(noise)} noise lines"
            + (f", {counts})" if counts else ")")
        )
    _check_spaces(header, heads[lines])
    check_places(heads[lines])
    lines, n_coils, general = of_the_receiver(header, heads, lines, rejected)
    if note := direction_note(heads[lines]):
        general.append(note)
    if findings.has_copies:
        lines = without_copies(heads, lines, rejected)
        general.append(COPIES)
    header, flattened = flatten_encodings(findings.applied(header), heads, lines)
    is_reference = _find_reference(header, heads[lines])
    images = split_slices(heads, lines[~is_reference], header.encodings)
    heads = split_slices(images.heads, lines[is_reference], header.encodings).heads
    layouts = _layouts(header, heads[lines], findings)
    reference = lines[is_reference]
    same = heads["active_channels"][noise] == n_coils
    if not same.all():
        rejected["noise of other coils"] = int((~same).sum())
    image, without_image = _reconstructible(header, heads, lines[~is_reference])
    groups = _group(heads, image)
    calibration, misplaced = choose_calibration_lines(heads, groups, reference, layouts)
    rejected |= without_image | misplaced
    return ScanPlan(
        header,
        layouts,
        groups,
        noise[same],
        n_coils,
        rejected,
        calibration,
        notes=_notes(groups, general, flattened, images.notes, findings),
        incomplete=incomplete_images(heads, groups, layouts, earlier),
        broken_coils=findings.broken_coils,
        line_slices=images.counters,
    )


def _notes(
    groups: dict[Counters, np.ndarray],
    general: list[str],
    flattened: dict[int, str],
    split: dict[int, str],
    findings: ScanFindings,
) -> dict[int, tuple[str, ...]]:
    """Return the notes of every encoding space that has images."""
    notes = {}
    for space in sorted({counters.encoding for counters in groups}):
        own = [flattened[space]] if space in flattened else []
        own += [split[space]] if space in split else []
        found = findings.spaces[space].notes if space in findings.spaces else ()
        notes[space] = (*general, *own, *found)
    return notes


def _check_spaces(header: ScanHeader, heads: np.ndarray) -> None:
    missing = int(heads["encoding_space_ref"].max())
    if missing >= len(header.encodings):
        raise BadScan(f"lines refer to encoding {missing}, the header has {len(header.encodings)}")


def _layouts(
    header: ScanHeader, heads: np.ndarray, findings: ScanFindings
) -> tuple[LineLayout, ...]:
    space = heads["encoding_space_ref"]
    return tuple(
        LineLayout.of_lines(encoding, heads[space == number], findings.echoes(number))
        for number, encoding in enumerate(header.encodings)
    )


def _find_reference(header: ScanHeader, heads: np.ndarray) -> np.ndarray:
    """Return a boolean per line: whether it only calibrates the images."""
    only = has_flag(heads, CALIBRATION) & ~has_flag(heads, CALIBRATION_AND_IMAGING)
    only = np.zeros_like(only) if only.all() else only
    space = heads["encoding_space_ref"]
    for number in np.unique(space[~only]).tolist():
        if not header.encodings[number].has_reference_scan:
            only &= space != number
    return only


def _reconstructible(
    header: ScanHeader, heads: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, dict[str, int]]:
    """Return the lines of the encoding spaces that make images, and the number of others by reason.

    At least one encoding space has to make an image.
    """
    spaces = heads["encoding_space_ref"][image]
    numbers = np.unique(spaces).tolist()
    if len(numbers) == 1:
        _check_kind(header.encodings[numbers[0]], heads, image)
        return image, {}
    good = np.zeros(len(image), dtype=bool)
    rejected = {}
    for number in numbers:
        members = spaces == number
        try:
            _check_kind(header.encodings[number], heads, image[members])
            _check_number(heads, image[members])
        except UnsupportedScan as error:
            rejected[f"of encoding {number} ({error})"] = int(members.sum())
        else:
            good |= members
    if not good.any():
        raise UnsupportedScan(f"no lines that make an image: {'; '.join(rejected)}")
    return image[good], rejected


def _check_kind(encoding: Encoding, heads: np.ndarray, image: np.ndarray) -> None:
    """Decline kinds of scans that need another reconstruction."""
    check_encoding(encoding)
    if has_flag(heads, PHASE_CORRECTION).any() and has_flag(heads[image], REVERSE).any():
        raise UnsupportedScan("reversed lines with phase correction: this is an echo-planar scan")
    partitions = np.unique(heads["idx"]["kspace_encode_step_2"][image])
    if len(partitions) > 1 and not encoding.is_3d:
        raise UnsupportedScan(
            f"lines of {len(partitions)} partitions, the encoded matrix has 1 along z"
        )


def _check_number(heads: np.ndarray, image: np.ndarray) -> None:
    """Decline a handful of stray lines beside the images of another space."""
    names = ("kspace_encode_step_1", "kspace_encode_step_2")
    n = len(distinct_rows([heads["idx"][name][image] for name in names]).rows)
    if n < MIN_LINES:
        raise UnsupportedScan(f"{n} phase-encode lines make no image")


def _group(heads: np.ndarray, image: np.ndarray) -> dict[Counters, np.ndarray]:
    columns = [heads["encoding_space_ref"][image]]
    columns += [heads["idx"][name][image] for name in NESTING]
    distinct, member, _ = distinct_rows(columns)
    order = np.argsort(member, kind="stable")
    ends = np.cumsum(np.bincount(member, minlength=len(distinct)))
    lines = np.split(image[order], ends[:-1])
    names = ("encoding", *NESTING)
    counters = (Counters(**dict(zip(names, map(int, key), strict=True))) for key in distinct)
    return dict(zip(counters, lines, strict=True))
