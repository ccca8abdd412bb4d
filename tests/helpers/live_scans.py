"""Scans in the pieces in which they may come in, and what is made of them."""

from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from jrsr_core.data import Counters, KSpaceSlice, KSpaceVolume
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.errors import PartialImage
from jrsr_core.mrd.examination.examine import plan_source
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.acquired import (
    LAST_IN_MEASUREMENT,
    LAST_IN_REPETITION,
    LAST_IN_SLICE,
    REJECTED,
    LineList,
    flag_bits,
    only_calibrates,
)
from jrsr_core.mrd.live.live_scan import LiveScan, Task
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import write_simulation

from .mrd_scans import select

Made = KSpaceSlice | KSpaceVolume
LAST = (LAST_IN_SLICE, LAST_IN_REPETITION, LAST_IN_MEASUREMENT)


def simulated(request: ScanRequest, folder: Path) -> tuple[ScanHeader, LineList]:
    """Header and lines of a scan, as its file has them."""
    write_simulation(request, folder / "scan.h5")
    with ScanFile(folder / "scan.h5") as scan:
        data = [scan.samples(np.array([i]))[0] for i in range(len(scan.heads))]
        return scan.header, LineList(scan.heads, data)


def of_the_file(header: ScanHeader, lines: LineList) -> dict[Counters, Made]:
    """The images of all lines together."""
    slices = Assembler(lines, plan_source(header, lines))
    return {c: usable(lambda c=c: slices.assemble(c)) for c in slices.plan.groups}


def usable(assemble: Callable[[], Made]) -> Made:
    """An image, or what is left of one whose measurement is incomplete."""
    try:
        return assemble()
    except PartialImage as error:
        return error.rest


def live(
    header: ScanHeader,
    chunks: list[LineList],
    rule: str,
    *,
    buckets: bool = False,
    at_end: bool = False,
) -> tuple[dict[Counters, Made], LiveScan]:
    """The images of a scan that comes in pieces, each made as soon as it is possible.

    With `at_end` all are made in the end, as where computing is slower than the scanner.
    """
    scan = LiveScan(header, rule, Assembler)
    made: dict[Counters, Made] = {}

    waiting: list[Task] = []

    def make(tasks: Iterable[Task]) -> None:
        for task in tasks:
            assert task.counters not in made, "made twice"
            made[task.counters] = usable(task.assemble)

    for chunk in chunks:
        tasks = scan.add(chunk, is_bucket=buckets)
        waiting.extend(tasks) if at_end else make(tasks)
    make([*waiting, *scan.finish()])
    return made, scan


def in_chunks(lines: LineList, n: int) -> list[LineList]:
    """So many lines at a time."""
    starts = range(0, len(lines.heads), n)
    return [select(lines, np.arange(i, min(i + n, len(lines.heads)))) for i in starts]


def in_buckets(lines: LineList, trigger: str = "repetition") -> list[LineList]:
    """Buckets of Gadgetron: one per slice whenever the counter `trigger` changes.

    Noise lines and others that are no image never reach a bucket.
    """
    spare = lines.heads["flags"] & np.uint64(flag_bits(*REJECTED)) != 0
    indices = np.flatnonzero(~spare)
    values = lines.heads["idx"][trigger][indices]
    changes = np.flatnonzero(np.diff(values.astype(int))) + 1
    buckets = []
    for part in np.split(indices, changes):
        numbers = lines.heads["idx"]["slice"][part]
        buckets += [select(lines, part[numbers == s]) for s in np.unique(numbers)]
    return buckets


def in_turn(header: ScanHeader, lines: LineList) -> LineList:
    """Every line of all images of a repetition before the next line, as echoes are measured.

    Noise and reference lines come first.
    """
    heads, is_image = lines.heads, _is_image(header, lines)
    keys = [heads["idx"][name] for name in ("kspace_encode_step_1", "kspace_encode_step_2")]
    keys.append(heads["idx"]["repetition"])
    return select(lines, np.lexsort([np.where(is_image, key, 0) for key in keys] + [is_image]))


def with_last_flags(
    header: ScanHeader, lines: LineList, counters: tuple[str, ...], *flags: int
) -> LineList:
    """Flag the last line of the images that have these counters in common, and no other line."""
    heads = lines.heads.copy()
    heads["flags"] &= ~np.uint64(flag_bits(*LAST))
    where = np.flatnonzero(_is_image(header, lines))
    values = [heads["encoding_space_ref"], *(heads["idx"][name] for name in counters)]
    groups = np.stack(values)[:, where]
    _, last = np.unique(groups[:, ::-1], axis=1, return_index=True)
    heads["flags"][where[::-1][last]] |= np.uint64(flag_bits(*flags))
    return LineList(heads, lines.data)


def _is_image(header: ScanHeader, lines: LineList) -> np.ndarray:
    is_spare = lines.heads["flags"] & np.uint64(flag_bits(*REJECTED)) != 0
    has_reference = any(e.has_reference_scan for e in header.encodings)
    return ~is_spare & ~(only_calibrates(lines.heads) & has_reference)


def assert_same(a: Made, b: Made) -> None:
    """Bit by bit, in every field.

    Only whether maps are worth keeping may differ: nobody knows how many images are to come.
    """
    assert type(a) is type(b)
    for field in fields(a):
        if field.name == "is_acs_shared":
            continue
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        if isinstance(ours, torch.Tensor):
            assert torch.equal(ours, theirs), field.name
        else:
            assert ours == theirs, field.name
