"""The stages from lines to images, as generators: tasks -> `reconstruct` -> `to_results`.

A task is an image that can be assembled. Tasks come from a file (`file_tasks`) or, one after the
other, from a running scan (`jrsr_core.mrd.live.live_scan`); the stages are the same for both.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NoReturn

from gadget.compute.engine import Engine
from gadget.errors import ScanError, describe
from gadget.output.base import Result
from gadget.settings import MAPS, Settings
from jrsr_core.calibration.stated_noise import without_excessive_noise
from jrsr_core.common.cancellation import Cancelled, checkpoint
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.assembly.shared import SharedState
from jrsr_core.mrd.errors import PartialImage, UnsupportedScan
from jrsr_core.mrd.files.other_noise import noise_of_file, other_noise
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.images import to_mrd_image, to_mrd_map
from jrsr_core.mrd.lines.acquired import LineSource
from jrsr_core.mrd.lines.numbering import Numbering
from jrsr_core.mrd.live.live_scan import LiveScan, Task
from jrsr_core.mrd.noise.measured import NoiseData
from jrsr_core.mrd.planning.plan import ScanPlan
from jrsr_core.reconstruction.field_of_view import crop_to_fov
from jrsr_core.reconstruction.volume import Tick

from .failed_scans import save_lines

log = logging.getLogger("jrsr")


def make_assembler(source: LineSource, plan: ScanPlan, settings: Settings) -> Assembler:
    """Return the assembler of a planned scan.

    Raises
    ------
    FileNotFoundError, BadScan
        `noise_file` cannot be read.
    UnsupportedScan
        `noise_file` has no noise lines, or the noise is of other coils than the scan.
    """
    noise = other_noise(source, plan, settings.noise_file) if settings.prewhiten else None
    return _assembler(source, plan, settings, noise)


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
        The header names nothing that is reconstructed, or `noise_file` has no noise lines.
    FileNotFoundError, BadScan
        As `make_assembler`.
    """
    is_read = settings.prewhiten and settings.noise_file
    of_file = noise_of_file(settings.noise_file) if is_read else None

    def make(source: LineSource, plan: ScanPlan, shared: SharedState | None = None) -> Assembler:
        used = of_file or (None if len(plan.noise) else noise)
        used = used and used.in_order(plan.header.coil_names)
        return _assembler(source, plan, settings, used, shared)

    return LiveScan(header, settings.trigger, make, is_cropped=is_cropped)


def _assembler(
    source: LineSource,
    plan: ScanPlan,
    settings: Settings,
    noise: NoiseData | None,
    shared: SharedState | None = None,
) -> Assembler:
    return Assembler(
        source,
        plan,
        prewhiten=settings.prewhiten,
        noise=noise,
        n_virtual_coils=settings.n_virtual_coils,
        shared=shared,
    )


def file_tasks(slices: Assembler) -> Iterator[Task]:
    """Yield a task for every image of a planned scan."""
    return (Task(counters, slices) for counters in slices.plan.groups)


@dataclass(frozen=True, eq=False)
class _Assembled:
    """A task with its k-space; after an `error` the k-space is for a fallback image only."""

    task: Task
    data: KSpaceSlice | KSpaceVolume
    error: Exception | None = None


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
    checkpoint()
    try:
        data = task.assemble()
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
    try:
        return _Assembled(task, without_excessive_noise(data))
    except Cancelled:
        raise
    except Exception as error:
        return _Assembled(task, data, error)


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
    if isinstance(error, PartialImage):
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
