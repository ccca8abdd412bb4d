"""What a scan contains and whether it is reconstructed, decided from header and line headers alone.

One image per (encoding space, repetition, set, phase, contrast, slice), in this nesting, slices
fastest; in 3-D one volume per slab. The segment counter is ignored and repeated lines count as
averages: in a Cartesian scan both only say when a line was measured.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from jrsr_core.data import Counters
from jrsr_core.mrd.acs.axes import AcsKey, acs_keys
from jrsr_core.mrd.acs.choose import choose_calibration_lines
from jrsr_core.mrd.acs.lines import CalibrationLines
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.acquired import NESTING, sort_lines
from jrsr_core.mrd.lines.distinct import distinct_rows
from jrsr_core.mrd.lines.geometry import (
    check_places,
    direction_note,
    reference_direction_note,
    with_directions,
)
from jrsr_core.mrd.lines.readout import LineLayout

from .completeness import incomplete_images
from .earlier import EarlierImages
from .findings import NO_FINDINGS, ScanFindings
from .kinds import flatten_encodings, reconstructible
from .measurements import mixed_measurements
from .outside import lines_outside
from .positions import shared_place_note, split_slices
from .received import COPIES, of_the_receiver, without_copies
from .reference_lines import find_reference
from .volumes import incomplete_volumes


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
    acs_keys
        Key of the ACS of every image.
    calibration
        Lines of the ACS that images share, by its key.
    notes
        What was decided against the header, one sentence each, by encoding space.
    incomplete
        Images that are not reconstructed by a model, with the reason.
    volume_notes
        Images of volumes that lack slices, each with a sentence on its volume; empty while the scan
        is running.
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
    acs_keys: dict[Counters, AcsKey] = field(default_factory=dict)
    calibration: dict[AcsKey, CalibrationLines] = field(default_factory=dict)
    notes: dict[int, tuple[str, ...]] = field(default_factory=dict)
    incomplete: dict[Counters, str] = field(default_factory=dict)
    volume_notes: dict[Counters, str] = field(default_factory=dict)
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
    earlier: EarlierImages | None = None,
) -> ScanPlan:
    """Find the images of a scan.

    Every encoding space that has image lines gives images of its own. Of several spaces those that
    make no image are set aside with the reason.

    Parameters
    ----------
    findings
        Findings of `examine`, which are followed where they differ from the header.
    earlier
        Images whose lines are gone (a running scan); the others are added.

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
    header.check_space(int(heads["encoding_space_ref"][lines].max()))
    check_places(heads[lines])
    heads, earlier = with_directions(heads), earlier or EarlierImages()
    lines, n_coils, of_others, general = of_the_receiver(header, heads, lines)
    rejected |= of_others
    if findings.has_copies:
        lines, copies = without_copies(heads, lines)
        rejected |= copies
        general.append(COPIES)
    header, flattened = flatten_encodings(findings.applied(header), heads, lines)
    is_reference, mixed = find_reference(header, heads[lines])
    directions = direction_note(heads[lines[~is_reference]])
    general += filter(None, [directions, reference_direction_note(heads[lines[is_reference]])])
    images = split_slices(heads, lines[~is_reference], header.encodings)
    heads = split_slices(images.heads, lines[is_reference], header.encodings).heads
    layouts = _layouts(header, heads[lines], findings)
    reference = lines[is_reference]
    same = heads["active_channels"][noise] == n_coils
    if not same.all():
        rejected["noise of other coils"] = int((~same).sum())
    image, without_image = reconstructible(header, heads, lines[~is_reference])
    groups = _group(heads, image)
    keys = acs_keys(heads, groups, earlier.axes)
    calibration, misplaced = choose_calibration_lines(heads, groups, keys, reference, layouts)
    outside, far = lines_outside(heads, groups, layouts)
    rejected |= without_image | misplaced | outside
    measurements = mixed_measurements(heads, groups)
    places = _shared_places(heads, groups)
    incomplete = incomplete_images(heads, groups, layouts, earlier.patterns)
    images_so_far = () if earlier.is_running else earlier.patterns
    by_space = (flattened, mixed, images.notes, places, far, measurements)
    return ScanPlan(
        header,
        layouts,
        groups,
        noise[same],
        n_coils,
        rejected,
        keys,
        calibration,
        notes=_notes(groups, general, header, findings, by_space),
        incomplete=incomplete,
        volume_notes=incomplete_volumes(images_so_far, header.encodings),
        broken_coils=findings.broken_coils,
        line_slices=images.counters,
    )


def _shared_places(heads: np.ndarray, groups: dict[Counters, np.ndarray]) -> dict[int, str]:
    """Return the notes on slices that lie at one place, by encoding space."""
    of_space: dict[int, dict[int, int]] = {}
    for counters, lines in groups.items():
        of_space.setdefault(counters.encoding, {}).setdefault(counters.slice, int(lines[0]))
    found = {
        space: shared_place_note(heads[[*first.values()]]) for space, first in of_space.items()
    }
    return {space: note for space, note in found.items() if note}


def _notes(
    groups: dict[Counters, np.ndarray],
    general: list[str],
    header: ScanHeader,
    findings: ScanFindings,
    by_space: tuple[dict[int, str], ...],
) -> dict[int, tuple[str, ...]]:
    """Return the notes of every encoding space that has images."""
    notes = {}
    for space in sorted({counters.encoding for counters in groups}):
        own = [found[space] for found in by_space if space in found]
        examined = findings.spaces[space].notes if space in findings.spaces else ()
        notes[space] = (*general, *header.encodings[space].notes, *own, *examined)
    return notes


def _layouts(
    header: ScanHeader, heads: np.ndarray, findings: ScanFindings
) -> tuple[LineLayout, ...]:
    space = heads["encoding_space_ref"]
    return tuple(
        LineLayout.of_lines(encoding, heads[space == number], findings.echoes(number))
        for number, encoding in enumerate(header.encodings)
    )


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
