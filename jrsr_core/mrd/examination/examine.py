"""Examines the samples of a scan before it is planned in the end, cheaply and once.

Of every encoding space one image is read. The place of k = 0 along the phase encodes and along the
readout, the field of view of the readouts, their direction and the channels are compared with the
header. `plan_source` is the plan that files, sandboxed files and running scans are made by.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from jrsr_core.centers import Peak, find_peak
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.encoding import PhaseEncodeGrid
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.acquired import REVERSE, LineSource, has_flag
from jrsr_core.mrd.lines.readout import (
    EchoKey,
    LineLayout,
    ReadoutKind,
    plan_readout,
    readout_kinds,
)
from jrsr_core.mrd.planning.earlier import EarlierImages
from jrsr_core.mrd.planning.findings import ScanFindings, SpaceFindings
from jrsr_core.mrd.planning.plan import ScanPlan, plan_scan

from .copies import are_copies
from .probe import Probe, along, near_lines, probe_lines, read_alike, read_probe
from .readout_checks import is_alternating, projections
from .readout_fov import with_readout

CENTRAL_LINES = 16
LINE_TOLERANCE = 2
SAMPLE_TOLERANCE = 3
"""Distances between a stated centre and the peak that mean nothing: lines, samples of the image."""

MAX_PROBES = 4
"""Times that the strips of a volume are read until they go through the peak of its energy."""

MAX_TRIES = 3
"""Images of a running scan that are examined until one has enough signal."""


@dataclass
class ScanRecord:
    """Findings about a running scan, which outlive the lines they come from.

    Attributes
    ----------
    spaces
        Findings by encoding space.
    n_tries
        Images examined, by encoding space.
    earlier
        The images so far.
    """

    spaces: dict[int, SpaceFindings] = field(default_factory=dict)
    n_tries: dict[int, int] = field(default_factory=dict)
    earlier: EarlierImages = field(default_factory=EarlierImages)


def plan_source(
    header: ScanHeader,
    source: LineSource,
    record: ScanRecord | None = None,
    *,
    is_cropped: bool = False,
) -> ScanPlan:
    """Plan a scan by its headers and by what its samples say.

    Parameters
    ----------
    record
        Record of the same scan, of earlier calls with other lines.
    is_cropped
        Whether readouts as long as the image needs are known to be without oversampling, as those
        that come through a chain of Gadgetron are.

    Raises
    ------
    UnsupportedScan, BadScan
        As `plan_scan`; lines that run in opposite directions without a flag.
    """
    record = record or ScanRecord()
    plan = plan_scan(header, source.heads, ScanFindings(record.spaces), record.earlier)
    has_copies = are_copies(source, plan)
    new = {}
    for number in plan.spaces:
        if number in record.spaces and record.spaces[number].is_certain:
            continue
        if record.n_tries.setdefault(number, 0) < MAX_TRIES:
            record.n_tries[number] += 1
            new[number] = _examine_space(source, plan, number, is_cropped=is_cropped)
    record.spaces |= new
    if not has_copies and not any(findings.changes_plan for findings in new.values()):
        return plan
    findings = ScanFindings(dict(record.spaces), has_copies)
    return plan_scan(header, source.heads, findings, record.earlier)


def _examine_space(
    source: LineSource, plan: ScanPlan, number: int, *, is_cropped: bool
) -> SpaceFindings:
    """Examine the middle one of the images of an encoding space."""
    images = [counters for counters in plan.groups if counters.encoding == number]
    counters = images[len(images) // 2]
    layout, grid = plan.layouts[number], plan.layouts[number].encoding.grid
    probe, about = _probe(source, plan.groups[counters], grid)
    line, line_note, is_certain = _center(source, probe, about, plan, number, axis=1)
    findings = SpaceFindings(
        center_line=line,
        broken_coils=probe.broken_coils,
        notes=line_note,
        is_certain=is_certain,
    )
    if layout.encoding.is_3d:
        partition, note, _ = _center(source, probe, about, plan, number, axis=2)
        findings = replace(findings, center_partition=partition, notes=findings.notes + note)
    central = _central_lines(source.heads, probe, grid.center_line if line is None else line)
    kinds, parts = list(readout_kinds(source.heads[central])), list[np.ndarray]()
    if is_certain:
        _check_directions(source, central, probe.broken_coils)
        findings = _with_echoes(findings, source, central, layout)
        alike = read_alike(source, central)
        parts = [_finite(samples, findings.broken_coils) for _, samples in alike]
    return with_readout(findings, kinds, parts, layout, is_cropped=is_cropped)


def _probe(
    source: LineSource, lines: np.ndarray, stated: PhaseEncodeGrid
) -> tuple[Probe, PhaseEncodeGrid]:
    """Return the energy of lines about k = 0, and the grid whose centre the strips go through.

    Along one axis of a volume the energy peaks at k = 0 only at the right place of the other axis:
    strips through wrong places are read again through the peaks that they show.
    """
    about = near_lines(source.heads[lines], stated)
    for _ in range(MAX_PROBES):
        probe = read_probe(source, probe_lines(source.heads, lines, about))
        if stated.nz == 1:
            break
        (_, line), (_, partition) = (_peak(source, probe, about, stated, axis) for axis in (1, 2))
        found = about._replace(center_line=line.place, center_partition=partition.place)
        if found == about:
            break
        about = found
    return probe, about


def _peak(
    source: LineSource, probe: Probe, about: PhaseEncodeGrid, stated: PhaseEncodeGrid, axis: int
) -> tuple[np.ndarray, Peak]:
    """Return the counters of the strip along an axis, and where its energy peaks."""
    heads = source.heads[probe.lines]
    strip = along(axis, heads, about)
    counters = heads["idx"][f"kspace_encode_step_{axis}"][strip].astype(np.int64)
    return counters, find_peak(counters, probe.energy[strip], stated[1 + axis], LINE_TOLERANCE)


def _center(
    source: LineSource,
    probe: Probe,
    about: PhaseEncodeGrid,
    plan: ScanPlan,
    number: int,
    *,
    axis: int,
) -> tuple[int | None, tuple[str, ...], bool]:
    """Return the centre where the header's is not right, a note, and whether there is a peak."""
    encoding = plan.layouts[number].encoding
    name = ("line", "partition")[axis - 1]
    size = encoding.encoding_matrix[2 - axis]
    stated = encoding.grid[1 + axis]
    counters, peak = _peak(source, probe, about, encoding.grid, axis)
    if not peak.contradicts:
        return None, (), peak.is_certain
    rows = [counters - center + size // 2 for center in (stated, peak.place)]
    inside = [int(((row >= 0) & (row < size)).sum()) for row in rows]
    known = (encoding.center_line, encoding.center_partition)[axis - 1]
    said = "gives no centre" if known is None else f"gives {name} {stated} as centre"
    text = f"k-space centre: the header {said}, the energy peaks at {name} {peak.place}"
    if inside[1] < inside[0]:
        lost = inside[0] - inside[1]
        note = f"{text}, where {lost} lines would lie outside the matrix: the header is followed"
        return None, (note,), True
    return peak.place, (f"{text}, which is used",), True


def _central_lines(heads: np.ndarray, probe: Probe, center: int) -> np.ndarray:
    """Return lines about k = 0 in the order of their counters, all of the strongest partition."""
    strongest = probe.lines[int(probe.energy.argmax())]
    partitions = heads["idx"]["kspace_encode_step_2"][probe.lines]
    lines = probe.lines[partitions == heads["idx"]["kspace_encode_step_2"][strongest]]
    steps = heads["idx"]["kspace_encode_step_1"][lines].astype(np.int64)
    nearest = np.argsort(np.abs(steps - center), kind="stable")[:CENTRAL_LINES]
    return lines[nearest][np.argsort(steps[nearest], kind="stable")]


def _finite(samples: np.ndarray, broken: frozenset[int]) -> np.ndarray:
    kept = [c for c in range(samples.shape[1]) if c not in broken]
    return np.where(np.isfinite(samples[:, kept]), samples[:, kept], 0)


def _check_directions(source: LineSource, central: np.ndarray, broken: frozenset[int]) -> None:
    """Decline lines that alternate their direction without a flag."""
    heads = source.heads[central]
    steps = heads["idx"]["kspace_encode_step_1"].astype(np.int64)
    kinds = readout_kinds(heads)
    if len(kinds) > 1 or has_flag(heads, REVERSE).any() or (np.diff(steps) != 1).any():
        return
    for _, samples in read_alike(source, central):
        if is_alternating(projections(_finite(samples, broken))):
            raise UnsupportedScan(
                "every other line is the mirror image of its neighbours, but none is flagged as "
                "reversed (flag 22): convert the scan again with the flags of its readouts"
            )


def _with_echoes(
    findings: SpaceFindings, source: LineSource, central: np.ndarray, layout: LineLayout
) -> SpaceFindings:
    """Add the samples of the echoes that `center_sample` gives wrongly, or not at all."""
    echoes: dict[EchoKey, int] = {}
    notes: list[str] = []
    for kind, members in readout_kinds(source.heads[central]).items():
        readout = plan_readout(kind, layout)
        stated = readout.n_full // 2 - readout.start
        energy = np.zeros(kind.n_samples)
        for _, samples in read_alike(source, central[members]):
            power = np.square(np.abs(_finite(samples, findings.broken_coils)), dtype=np.float64)
            energy += power.sum((0, 1))
        energy = energy[::-1] if kind.reverse else energy
        kept = np.arange(kind.n_samples)[kind.kept]
        oversampling = max(1, round(readout.n_full / readout.n_out))
        tolerance = SAMPLE_TOLERANCE * oversampling
        peak = find_peak(kept, energy[kept], stated, tolerance)
        if peak.contradicts:
            echoes[kind.key] = peak.place
            notes.append(_echo_note(kind, peak.place))
    return replace(findings, echoes=echoes, notes=(*findings.notes, *dict.fromkeys(notes)))


def _echo_note(kind: ReadoutKind, echo: int) -> str:
    place = kind.n_samples - 1 - echo if kind.reverse else echo
    return (
        f"echo: center_sample is {kind.center} of {kind.n_samples} samples, the energy peaks at "
        f"sample {place}, which is used"
    )
