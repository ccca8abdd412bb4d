"""The way of the data as generator stages, shared by everything that has lines and wants images.

    tasks -> reconstruct -> to_results

A task is an image that can be assembled; they come from a file (`file_tasks`) or, one after the
other, from a scan that is going on (`jrsr_core.mrd.live`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from gadget.compute.engine import Engine
from gadget.errors import UsageError, describe
from gadget.output.base import Result
from gadget.settings import MAPS, Settings
from jrsr_core.cancellation import Cancelled
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.mrd.assemble import Assembler, ScanMemory
from jrsr_core.mrd.errors import BadSamples, UnsupportedScan
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.header import ScanHeader
from jrsr_core.mrd.images import crop_to_fov, to_mrd_image, to_mrd_map
from jrsr_core.mrd.lines import NOISE, LineSource, has_flag
from jrsr_core.mrd.live import LiveScan, Task
from jrsr_core.mrd.noise import NoiseData, read_noise
from jrsr_core.mrd.numbering import Numbering
from jrsr_core.mrd.plan import ScanPlan
from jrsr_core.reconstruction.volume import Tick

from .failed_scans import spool


def make_assembler(source: LineSource, plan: ScanPlan, settings: Settings) -> Assembler:
    """Assemble a planned scan, whitened as the settings say; raises as `assembler_maker`."""
    return assembler_maker(settings)(source, plan)


def assembler_maker(settings: Settings) -> Callable[..., Assembler]:
    """Return ``(source, plan, memory=None) -> Assembler``.

    It raises UnsupportedScan where the noise is of other coils than the scan.

    Raises
    ------
    UsageError
        `noise_file` has no noise lines.
    FileNotFoundError, BadScan
        `noise_file` cannot be read.
    """
    noise = None
    if settings.prewhiten and settings.noise_file:
        noise = _noise_of(settings.noise_file)

    def make(source: LineSource, plan: ScanPlan, memory: ScanMemory | None = None) -> Assembler:
        return Assembler(
            source,
            plan,
            prewhiten=settings.prewhiten,
            noise=noise and noise.in_order(plan.header.coil_names),
            n_virtual_coils=settings.n_virtual_coils,
            memory=memory,
        )

    return make


def live_scan(header: ScanHeader, settings: Settings) -> LiveScan:
    """Begin a scan that is going on; raises as `assembler_maker`."""
    return LiveScan(header, settings.trigger, assembler_maker(settings))


def file_tasks(slices: Assembler) -> Iterator[Task]:
    """Yield every image of a planned scan."""
    return (Task(counters, slices) for counters in slices.plan.groups)


def _noise_of(path: str) -> NoiseData:
    with ScanFile(path) as scan:
        lines = np.flatnonzero(has_flag(scan.heads, NOISE))
        noise = read_noise(scan, lines, scan.header.noise_bandwidth)
        names = scan.header.coil_names
    if noise is None:
        raise UsageError(f"noise_file {path} has no noise lines")
    return replace(noise, coil_names=names)


@dataclass(frozen=True, eq=False)
class _Work:
    """A task with its k-space; `reason` says why the model cannot have it."""

    task: Task
    made: KSpaceSlice | KSpaceVolume
    reason: str = ""


def reconstruct(
    tasks: Iterable[Task], engine: Engine, settings: Settings, tick: Tick = lambda: None
) -> Iterator[ReconImage]:
    """Yield one image per task; one that fails becomes a fallback image, or stops.

    `tick` is called for every slice, and every readout position of a volume.

    Raises
    ------
    BadSamples, UnsupportedScan
        With ``on_failure=stop``, the first failure.
    Cancelled
        Nobody waits for the images any more.
    """
    works = (_assemble(task, settings) for task in tasks)
    while batch := list(islice(works, engine.slices_at_once)):
        for work, outcome in zip(batch, _outcomes(batch, engine, settings, tick), strict=True):
            yield _image_of(work, outcome, engine, settings, tick)


def _assemble(task: Task, settings: Settings) -> _Work:
    try:
        return _Work(task, task.assemble())
    except BadSamples as error:
        if settings.on_failure == "stop":
            _keep(task, settings)
            raise
        return _Work(task, error.rest, describe(error))


def _outcomes(
    batch: list[_Work], engine: Engine, settings: Settings, tick: Tick
) -> Iterator[ReconImage | Exception | None]:
    """Yield what the model made of each work: slices together, volumes by themselves."""
    slices = [w.made for w in batch if not w.reason and isinstance(w.made, KSpaceSlice)]
    made = iter(engine.run(slices, settings.time_limit))
    for work in batch:
        if work.reason:
            yield None
        elif isinstance(work.made, KSpaceSlice):
            yield next(made)
            tick()
        else:
            yield _volume(work.made, engine, settings, tick)


def _volume(
    volume: KSpaceVolume, engine: Engine, settings: Settings, tick: Tick
) -> ReconImage | Exception:
    try:
        return engine.run_volume(volume, tick, settings.time_limit)
    except Cancelled:
        raise
    except Exception as error:
        return error


def _image_of(
    work: _Work,
    outcome: ReconImage | Exception | None,
    engine: Engine,
    settings: Settings,
    tick: Tick,
) -> ReconImage:
    if isinstance(outcome, ReconImage):
        return outcome
    if isinstance(outcome, Cancelled):
        raise outcome
    reason = work.reason or describe(outcome)
    _keep(work.task, settings)
    if settings.on_failure == "stop":
        raise UnsupportedScan(f"slice {work.made.counters.slice}: {reason}") from outcome
    return engine.fallback(work.made, reason, tick)


def _keep(task: Task, settings: Settings) -> None:
    """Save the raw data of an image that failed, if asked for."""
    if settings.spool_dir:
        spool(task, settings.spool_dir)


def to_results(
    images: Iterable[ReconImage],
    header: ScanHeader,
    settings: Settings,
    numbering: Numbering | None = None,
) -> Iterator[Result]:
    """Remove phase oversampling and put headers on; `numbering` is that of earlier calls.

    The maps of an image follow it; fallback images have none.
    """
    numbering = numbering or Numbering(header.encodings)
    for image in images:
        counters = image.counters
        cropped = crop_to_fov(image, header.encodings[counters.encoding].recon_fov_mm)
        series = settings.series_index + numbering.series(counters)
        number = numbering.number(counters)
        mrd = to_mrd_image(
            cropped,
            header,
            series_index=series,
            image_index=number,
            as_complex=settings.output == "complex",
        )
        yield Result(cropped, mrd)
        for name in settings.map_names if cropped.maps else ():
            places = {"series_index": series + MAPS[name], "image_index": number}
            yield Result(cropped, to_mrd_map(cropped, name, header, **places), name)
