"""The stages from lines to images, as generators: tasks -> `reconstruct` -> `to_results`.

A task is an image that can be assembled. Tasks come from a file (`file_tasks`) or, one after the
other, from a running scan (`jrsr_core.mrd.live`); the stages are the same for both.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NoReturn

from gadget.compute.engine import Engine
from gadget.errors import ScanError, UsageError, describe
from gadget.output.base import Result
from gadget.settings import MAPS, Settings
from jrsr_core.cancellation import Cancelled
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.mrd.assemble import Assembler
from jrsr_core.mrd.errors import PartialImage, UnsupportedScan
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.header import ScanHeader
from jrsr_core.mrd.images import to_mrd_image, to_mrd_map
from jrsr_core.mrd.lines import LineSource
from jrsr_core.mrd.live import LiveScan, Task
from jrsr_core.mrd.memory import ScanMemory
from jrsr_core.mrd.noise import NoiseData, noise_of_scan
from jrsr_core.mrd.numbering import Numbering
from jrsr_core.mrd.planning.plan import ScanPlan
from jrsr_core.reconstruction.field_of_view import crop_to_fov
from jrsr_core.reconstruction.volume import Tick

from .failed_scans import save_lines

log = logging.getLogger("jrsr")


def make_assembler(
    source: LineSource, plan: ScanPlan, settings: Settings, noise: NoiseData | None = None
) -> Assembler:
    """Return the assembler of a planned scan; raises as `assembler_maker` and its function."""
    return assembler_maker(settings, noise)(source, plan)


def assembler_maker(settings: Settings, noise: NoiseData | None = None) -> Callable[..., Assembler]:
    """Return a function ``(source, plan, memory=None) -> Assembler``.

    `noise` is used unless the settings name a `noise_file`.

    The function raises `UnsupportedScan` if the noise is of other coils than the scan.

    Raises
    ------
    UsageError
        `noise_file` has no noise lines.
    FileNotFoundError, BadScan
        `noise_file` cannot be read.
    """
    if settings.noise_file:
        noise = _noise_of(settings.noise_file) if settings.prewhiten else None

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


def live_scan(
    header: ScanHeader,
    settings: Settings,
    *,
    is_cropped: bool = False,
    noise: NoiseData | None = None,
) -> LiveScan:
    """Return a running scan without lines; `is_cropped` as in `plan_source`.

    `noise` is used where the scan has no noise lines and the settings name no `noise_file`.

    Raises
    ------
    UnsupportedScan
        The header names nothing that is reconstructed.
    UsageError, FileNotFoundError, BadScan
        As `assembler_maker`.
    """
    alone, with_noise = assembler_maker(settings), assembler_maker(settings, noise)

    def make(source: LineSource, plan: ScanPlan, memory: ScanMemory | None = None) -> Assembler:
        return (alone if len(plan.noise) else with_noise)(source, plan, memory)

    return LiveScan(header, settings.trigger, make, is_cropped=is_cropped)


def file_tasks(slices: Assembler) -> Iterator[Task]:
    """Yield a task for every image of a planned scan."""
    return (Task(counters, slices) for counters in slices.plan.groups)


def _noise_of(path: str) -> NoiseData:
    with ScanFile(path) as scan:
        noise = noise_of_scan(scan.header, scan)
    if noise is None:
        raise UsageError(f"noise_file {path} has no noise lines")
    return noise


@dataclass(frozen=True, eq=False)
class _Assembled:
    """A task with its k-space; after an `error` the k-space is for a fallback image only."""

    task: Task
    data: KSpaceSlice | KSpaceVolume
    error: PartialImage | None = None


def reconstruct(
    tasks: Iterable[Task],
    engine: Engine,
    settings: Settings,
    tick: Tick = lambda: None,
    *,
    at_once: int | None = None,
    failures: list[Exception] | None = None,
) -> Iterator[ReconImage]:
    """Yield one image per task, in order; a fallback image for one that fails.

    An image for which even the fallback fails does not take the others with it: its error is raised
    after their images were yielded.

    Parameters
    ----------
    tick
        Called for every slice, and for every readout position of a volume.
    at_once
        Images that are assembled together; as many as the engine asks for by default.
    failures
        Receives the errors of images without a fallback image; they are not raised then.

    Raises
    ------
    PartialImage, UnsupportedScan
        The first failure, with ``on_failure=stop``.
    Cancelled
        Nobody waits for the images any more.
    Exception
        The first image that could neither be assembled nor replaced by a fallback image.
    """
    tasks, errors = iter(tasks), list[Exception]() if failures is None else failures
    while batch := list(islice(tasks, at_once or engine.slices_at_once)):
        items = [item for task in batch if (item := _assemble(task, settings, errors))]
        for item, outcome in zip(items, _outcomes(items, engine, settings, tick), strict=True):
            if not isinstance(outcome, Exception):
                yield outcome
            elif settings.on_failure == "stop":
                _stop(item, outcome, settings)
            elif (image := _fallback(item, outcome, engine, settings, tick, errors)) is not None:
                yield image
    if failures is None and errors:
        raise errors[0]


def _assemble(task: Task, settings: Settings, failures: list[Exception]) -> _Assembled | None:
    """Return the k-space of a task; None after a failure, which is added to the others."""
    try:
        return _Assembled(task, task.assemble())
    except PartialImage as error:
        return _Assembled(task, error.rest, error)
    except Cancelled:
        raise
    except Exception as error:
        if settings.on_failure == "stop":
            raise
        failure = ScanError(f"slice {task.counters.slice}", error)
        log.error("%s", failure, exc_info=True)
        failures.append(failure)
        return None


def _outcomes(
    batch: list[_Assembled], engine: Engine, settings: Settings, tick: Tick
) -> Iterator[ReconImage | Exception]:
    """Yield the image or the error of each item: slices together, volumes by themselves."""
    slices = [i.data for i in batch if not i.error and isinstance(i.data, KSpaceSlice)]
    outcomes = iter(engine.run(slices, settings.time_limit))
    for item in batch:
        if item.error is not None:
            yield item.error
        elif isinstance(item.data, KSpaceSlice):
            yield next(outcomes)
            tick()
        else:
            yield _volume(item.data, engine, settings, tick)


def _volume(
    volume: KSpaceVolume, engine: Engine, settings: Settings, tick: Tick
) -> ReconImage | Exception:
    try:
        return engine.run_volume(volume, tick, settings.time_limit)
    except Exception as error:
        return error


def _fallback(
    item: _Assembled,
    error: Exception,
    engine: Engine,
    settings: Settings,
    tick: Tick,
    failures: list[Exception],
) -> ReconImage | None:
    """Return the fallback image of an image that failed; None if it fails as well."""
    _give_up(item, error, settings)
    try:
        return engine.fallback(item.data, describe(error), tick)
    except Cancelled:
        raise
    except Exception as failed:
        number = item.data.counters.slice
        text = f"slice {number}: {describe(error)}; no fallback image: {describe(failed)}"
        log.error("%s", text, exc_info=True)
        failures.append(ValueError(text))
        return None


def _give_up(item: _Assembled, error: Exception, settings: Settings) -> None:
    """Save the lines of an image that failed, or raise if nobody waits for it."""
    if isinstance(error, Cancelled):
        raise error
    if settings.spool_dir:
        save_lines(item.task, settings.spool_dir)


def _stop(item: _Assembled, error: Exception, settings: Settings) -> NoReturn:
    """Save the lines of an image that failed, and raise its error."""
    _give_up(item, error, settings)
    if error is item.error:
        raise error
    number = item.data.counters.slice
    raise UnsupportedScan(f"slice {number}: {describe(error)}") from error


def to_results(
    images: Iterable[ReconImage],
    header: ScanHeader,
    settings: Settings,
    numbering: Numbering | None = None,
) -> Iterator[Result]:
    """Yield images without phase oversampling and with headers, each followed by its maps.

    Fallback images have no maps. `numbering` continues that of earlier calls for the same scan.
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
