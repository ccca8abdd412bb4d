"""A scan that is going on: images are reconstructed before its last line has come.

Lines are kept until the trigger finds their unit complete and the coils of its slice can be
calibrated; then a `Task` is made of them and they are dropped. All decisions are those of
`plan_source` on the lines so far, so that the file of a scan gives the same images.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from jrsr_core.data import Counters, KSpaceSlice, KSpaceVolume
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.assembly.shared import SharedState
from jrsr_core.mrd.examination.examine import ScanRecord, plan_source
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.acquired import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    NOISE,
    REJECTED,
    LineList,
    flag_bits,
    line_bytes,
)
from jrsr_core.mrd.planning.earlier import EarlierImages
from jrsr_core.mrd.planning.kinds import check_header
from jrsr_core.mrd.planning.plan import ScanPlan
from jrsr_core.mrd.planning.volumes import incomplete_volumes

from .trigger import Trigger, Unit, unit_of

_NOISE = flag_bits(NOISE)
_REJECTED = flag_bits(*REJECTED) & ~_NOISE
_CALIBRATION = flag_bits(CALIBRATION)
_AND_IMAGING = flag_bits(CALIBRATION_AND_IMAGING)


@dataclass(frozen=True, eq=False)
class Task:
    """One image to be reconstructed."""

    counters: Counters
    assembler: Assembler

    def assemble(self) -> KSpaceSlice | KSpaceVolume:
        """Return its k-space; raises as `Assembler.assemble`."""
        return self.assembler.assemble(self.counters)

    def lines(self) -> LineList:
        """Return the lines that have a part in it: noise, calibration, image."""
        source = self.assembler.source
        wanted = self.assembler.lines_of(self.counters)
        data = [source.samples(wanted[i : i + 1])[0] for i in range(len(wanted))]
        return LineList(source.heads[wanted], data)


class LiveScan:
    """Collects the lines of a scan and yields its images as soon as they can be reconstructed.

    Parameters
    ----------
    rule
        Rule of the `Trigger`.
    make_assembler
        ``(source, plan, shared=...) -> Assembler``, with the settings of the scan.
    is_cropped
        As in `plan_source`.

    Attributes
    ----------
    n_lines, n_late
        Lines added, and lines that came when the image they belong to was complete.

    Raises
    ------
    UnsupportedScan
        The header names nothing that is reconstructed.
    """

    def __init__(
        self,
        header: ScanHeader,
        rule: str,
        make_assembler: Callable[..., Assembler],
        *,
        is_cropped: bool = False,
    ) -> None:
        check_header(header)
        self.header = header
        self._is_cropped = is_cropped
        self._record = ScanRecord(earlier=EarlierImages(is_running=True))
        self.n_lines = self.n_late = self._line_bytes = 0
        self._make_assembler = make_assembler
        self._shared = SharedState()
        self._trigger = Trigger(rule, header.encodings)
        self._has_reference = any(e.has_reference_scan for e in header.encodings)
        self._heads: list[np.ndarray] = []
        self._data: list[np.ndarray] = []
        # The unit of each line; None for noise, reference and rejected lines.
        self._units: list[Unit | None] = []
        self._complete: set[Unit] = set()
        self._has_news = False
        self._n_tasks = 0

    @property
    def n_bytes(self) -> int:
        """Memory of the lines and of the ACS that are kept."""
        return self._line_bytes + self.n_acs_bytes

    @property
    def n_acs_bytes(self) -> int:
        """Memory of the ACS of the slices so far, which is kept until the scan ends."""
        return self._shared.n_bytes

    @property
    def volume_notes(self) -> dict[Counters, str]:
        """Notes on volumes that lack slices, by their images so far, which may have left before."""
        return incomplete_volumes(self._record.earlier.patterns, self.header.encodings)

    def add(self, lines: LineList, *, is_bucket: bool = False) -> Iterator[Task]:
        """Add lines; yield the images that can be reconstructed now.

        Raises
        ------
        UnsupportedScan, BadScan
            As `plan_source`.
        """
        for i, head in enumerate(lines.heads):
            self._add_line(lines.heads[i : i + 1], head, lines.data[i])
        if is_bucket:
            self._note(self._trigger.bucket())
        yield from self._tasks(at_end=False)

    def finish(self) -> Iterator[Task]:
        """Yield the images that are left at the end of the scan; raises as `add`."""
        self._note(self._trigger.end())
        self._record.earlier.is_running = False
        yield from self._tasks(at_end=True)
        if self.n_lines and not self._n_tasks:
            # Reference lines without images are images, as in a file; anything else is an error.
            source = LineList(np.concatenate(self._heads), self._data)
            plan = self._plan(source)
            self._note(_unit(plan, counters) for counters in plan.groups)
            yield from self._tasks(at_end=True)

    def _plan(self, source: LineList) -> ScanPlan:
        return plan_source(self.header, source, self._record, is_cropped=self._is_cropped)

    def _note(self, complete: Iterable[Unit]) -> None:
        n = len(self._complete)
        self._complete.update(complete)
        self._has_news |= len(self._complete) > n

    def _add_line(self, record: np.ndarray, head: np.void, data: np.ndarray) -> None:
        self.n_lines += 1
        flags, space, unit = int(head["flags"]), int(head["encoding_space_ref"]), None
        if self._is_image(flags, space):
            self.header.check_space(space)
            if self._trigger.is_late(head):
                self.n_late += 1
                return
            self._note(self._trigger.line(head))
            unit = unit_of(head)
        elif self._may_be_image(flags, space):
            self._trigger.calibration_line(head)
        self._units.append(unit)
        self._heads.append(record)
        # Of a rejected line only the header is counted; a view would keep its samples.
        self._data.append(data[:, :0].copy() if flags & _REJECTED else data)
        self._line_bytes += line_bytes(self._data[-1:])

    def _is_image(self, flags: int, space: int) -> bool:
        """Return whether a line may belong to an image; `plan_source` decides in the end."""
        if flags & (_NOISE | _REJECTED):
            return False
        only_calibrates = flags & _CALIBRATION and not flags & _AND_IMAGING
        return not (only_calibrates and (self._has_reference or space > 0))

    def _may_be_image(self, flags: int, space: int) -> bool:
        """Return whether a calibration line of a further space may be the centre of its image."""
        if self._has_reference or flags & (_NOISE | _REJECTED) or not flags & _CALIBRATION:
            return False
        return 0 < space < len(self.header.encodings)

    def _source(self) -> tuple[LineList, np.ndarray]:
        """Return the lines that may be used now, and their indices among those that are kept.

        Lines of a unit that is not complete are left out: decisions on them would change later.
        """
        heads = np.concatenate(self._heads)
        self._heads = [heads]
        usable = [u is None or u in self._complete for u in self._units]
        indices = np.flatnonzero(usable)
        return LineList(heads[indices], [self._data[i] for i in indices]), indices

    def _tasks(self, *, at_end: bool) -> Iterator[Task]:
        if not self._complete or not (self._has_news or at_end):
            return
        self._has_news = False
        source, indices = self._source()
        plan = self._plan(source)
        assembler = self._make_assembler(source, plan, shared=self._shared)
        # Images of one unit leave together: their lines are dropped with it.
        open_units = {
            _unit(plan, counters)
            for counters in plan.groups
            if not (at_end or assembler.is_settled(counters))
        }
        ready = [
            counters
            for counters in plan.groups
            if (unit := _unit(plan, counters)) in self._complete and unit not in open_units
        ]
        for counters in ready:
            self._n_tasks += 1
            yield Task(counters, assembler)
        self._drop([indices[plan.groups[counters]] for counters in ready])
        self._complete -= {_unit(plan, counters) for counters in ready}

    def _drop(self, used: list[np.ndarray]) -> None:
        """Drop lines that are used or rejected; noise and reference lines stay."""
        (heads,) = self._heads
        keep = heads["flags"] & np.uint64(_REJECTED) == 0
        keep[np.concatenate([*used, np.zeros(0, np.int64)]).astype(np.int64)] = False
        stays = np.flatnonzero(keep)
        self._heads = [heads[stays]]
        self._data = [self._data[i] for i in stays]
        self._units = [self._units[i] for i in stays]
        self._line_bytes = line_bytes(self._data)


def _unit(plan: ScanPlan, counters: Counters) -> Unit:
    return Unit(counters.encoding, plan.line_slice(counters), counters.repetition)
