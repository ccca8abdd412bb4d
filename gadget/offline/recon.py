"""`jrsr recon`: scan files in, image files out.

Every scan is inspected, assembled slice by slice, reconstructed and written. A target takes its
name when its last image is complete; an error or an interrupt leaves nothing behind.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from gadget.compute.engine import Engine
from gadget.compute.maker import makers
from gadget.compute.model import check_model, make_engine
from gadget.compute.ray import import_cluster
from gadget.console import print_line, print_warning, progress
from gadget.errors import Exit, UsageError, describe, exit_code, most_severe
from gadget.output.base import ScanJob
from gadget.output.formats import open_writers
from gadget.output.names import named_format, target_path
from gadget.output.options import DEFAULTS, OutputOptions
from gadget.scan.inspect import inspect_scan
from gadget.scan.stages import (
    file_tasks,
    make_assembler,
    reconstruct,
    to_results,
)
from gadget.settings import Settings
from jrsr_core.common.cancellation import checkpoint
from jrsr_core.mrd.files.other_groups import OpenScan, other_scans_note
from jrsr_core.mrd.files.sandbox import Sandbox
from jrsr_core.mrd.files.scan import DATASET

from .scans import open_scan
from .summary import Summary
from .targets import (
    Targets,
    check_all_targets,
    missing_targets,
    output_folder,
)
from .threads import map_scans


@dataclass(frozen=True)
class ReconRequest:
    """Scans to reconstruct, how, and where the images go.

    Attributes
    ----------
    sources
        Scan files.
    settings
        Settings of the reconstruction.
    output
        File or folder, see `target_path`; None for beside the scans.
    formats
        Names in `ENDINGS`.
    options
        How the images are written.
    sandboxed
        Those among the sources that are read in a sandboxed subprocess.
    dataset
        Group of the file to read; empty for ``dataset``, or the only one.
    resume
        Make only the files that are missing; with `overwrite` also those that are out of date.
    cluster
        Address of a Ray cluster, or "local"; empty to compute in this process.
    gpus_per_worker
        Share of a GPU for each worker of the cluster.
    """

    sources: list[Path]
    settings: Settings
    output: Path | None
    formats: list[str]
    options: OutputOptions = DEFAULTS
    sandboxed: frozenset[Path] = frozenset()
    dataset: str = ""
    resume: bool = False
    cluster: str = ""
    gpus_per_worker: float | None = None

    def targets(self) -> Targets:
        """Return what is written for every scan."""
        if len(self.sources) > 1 and named_format(self.output):
            raise UsageError(f"{self.output} is a file name, several scans need a folder")
        self.options.check(self.formats, len(self.sources))
        if self.options.with_phase and self.settings.output != "complex":
            raise UsageError(
                f"--phase needs complex images, output is {self.settings.output!r}: "
                "add --set output=complex"
            )
        return {
            source: {
                name: target_path(self._name_of(source), source.parent, self.output, name)
                for name in self.formats
            }
            for source in self.sources
        }

    def _name_of(self, source: Path) -> str:
        """Return the name of the images of a scan; that of a further group names the group."""
        group = "" if self.dataset in ("", DATASET) else f"_{self.dataset.replace('/', '_')}"
        return f"{source.stem}{group}_jrsr"

    def warn_of_other_scans(self, scan: OpenScan) -> None:
        """Print a warning if the file holds scans in other groups, and none was chosen."""
        if not self.dataset and (note := other_scans_note(scan)):
            print_warning(f"{scan.path.name}: warning: {note}")

    def missing(self, targets: Targets) -> tuple[Targets, bool]:
        """Return what is left to be made, as `missing_targets`."""
        return missing_targets(targets, makers(self.settings), overwrite=self.options.overwrite)

    def check_all(self, targets: Targets) -> None:
        """Raise, as `check_all_targets`, if one of the targets may not be written."""
        noise, study = self.settings.noise_file, self.options.study
        inputs = (Path(noise) if noise else None, study.template if study else None)
        check_all_targets(targets, overwrite=self.options.overwrite, further_inputs=inputs)


def reconstruct_files(request: ReconRequest) -> Exit:
    """Reconstruct all scans; a failure of one does not affect the others.

    Returns
    -------
    Exit
        The most severe exit code: failed, then declined, then fallback, then done. With `resume`
        fallback images of outputs that were finished before count as well.

    Raises
    ------
    UsageError
        Unknown model; targets that collide.
    CardError
        Weights are missing.
    OSError
        A target may not be written.
    """
    check_model(request.settings)
    targets, codes = request.targets(), list[Exit]()
    if request.resume:
        targets, has_fallback = request.missing(targets)
        if has_fallback:
            codes.append(Exit.FALLBACK)
    with output_folder(request.output):
        request.check_all(targets)
        with _engine(request) as (get_engine, n_at_once), Sandbox() as sandbox:

            def reconstruct_file(source: Path) -> Exit:
                try:
                    place = sandbox if source in request.sandboxed else None
                    with open_scan(source, place, dataset=request.dataset) as scan:
                        request.warn_of_other_scans(scan)
                        return reconstruct_scan(
                            scan,
                            request.settings,
                            targets[source],
                            get_engine,
                            request.options,
                            show_progress=n_at_once == 1,
                        )
                except Exception as error:
                    print_warning(f"{source.name}: {describe(error)}")
                    return exit_code(error)

            codes += map_scans(reconstruct_file, list(targets), n_at_once)
    return most_severe(codes)


@contextmanager
def _engine(request: ReconRequest) -> Iterator[tuple[Callable[[], Engine], int]]:
    """Yield a function that returns the engine, and how many scans share it at a time."""
    with_maps = "report" in request.formats
    if not request.cluster:
        # The model is loaded when the first scan has passed its inspection.
        yield cache(partial(make_engine, request.settings, with_maps=with_maps)), 1
        return
    cluster = import_cluster(request.cluster)
    with cluster.Pool(
        request.cluster, device=request.settings.device, gpus_per_worker=request.gpus_per_worker
    ) as pool:
        engine = cluster.ClusterEngine(request.settings, pool, with_maps=with_maps)
        yield lambda: engine, pool.n_wanted


def reconstruct_scan(
    scan: OpenScan,
    settings: Settings,
    paths: dict[str, Path],
    get_engine: Callable[[], Engine],
    options: OutputOptions = DEFAULTS,
    *,
    show_progress: bool = True,
) -> Exit:
    """Reconstruct one open scan and write its images.

    Parameters
    ----------
    paths
        Format -> file or folder to be written.
    get_engine
        Returns the engine; called after the scan has passed its inspection.

    Raises
    ------
    BadScan, UnsupportedScan
        The scan is broken, or of a kind that is not supported.
    ScanError, ValueError
        No image could be made; why the first one could not.
    OSError
        A target cannot be written.
    """
    start = time.perf_counter()
    name = scan.path.name
    found = inspect_scan(scan.header, scan, settings)
    engine = get_engine()
    slices = make_assembler(scan, found.plan, settings)
    job = ScanJob(scan.path, found.plan, slices, engine, settings)
    summary, is_complete, failures = Summary(name), True, list[Exception]()
    with ExitStack() as stack:
        writers = open_writers(stack, paths, job, options)
        tick = stack.enter_context(
            progress(slices.n_steps, name) if show_progress else nullcontext(lambda: None)
        )
        images = reconstruct(file_tasks(slices), engine, settings, tick, failures=failures)
        for result in to_results(images, found.plan.header, settings):
            checkpoint()
            summary.add(result)
            for writer in writers:
                is_complete &= writer.add(result) is not False
        if failures and not summary.n_images:
            raise failures[0]
    for reason, n in Counter(map(describe, failures)).items():
        count = f", and {n - 1} more for the same reason" if n > 1 else ""
        print_warning(f"{name}: image left out: {reason}{count}")
    if options.with_phase and not any(writer.has_phase for writer in writers):
        only_fallback = summary.n_fallback == summary.n_images
        fallback = "all images are fallback images, which are magnitudes"
        reason = fallback if only_fallback else f"model {settings.model} gives magnitudes"
        print_warning(f"{name}: --phase: {reason}, no phase was written")
    summary.print_warnings()
    files = ", ".join(map(str, paths.values()))
    print_line(f"{summary} in {time.perf_counter() - start:.1f} s -> {files}")
    is_complete &= not failures and not summary.n_fallback
    return Exit.DONE if is_complete else Exit.FALLBACK
