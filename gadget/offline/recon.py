"""Files in, images out: the offline twin of the server.

Per scan: inspect, assemble slice by slice, reconstruct, write. The target takes its name only
when the last image is in; an error or an interrupt leaves nothing behind.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from gadget.compute.engine import Engine
from gadget.compute.model import check_model, make_engine
from gadget.compute.ray.available import import_cluster
from gadget.console import print_line, print_warning, progress
from gadget.errors import Exit, ScanError, UsageError, describe, exit_code
from gadget.output.base import ScanJob
from gadget.output.formats import check_paths, open_writers, target_path
from gadget.scan.inspect import Inspection, inspect_scan
from gadget.scan.stages import file_tasks, make_assembler, reconstruct, to_results
from gadget.settings import Settings
from jrsr_core.mrd.files.sandbox import SandboxedScan
from jrsr_core.mrd.files.scan import ScanFile

from .scans import open_scan
from .summary import Summary


@dataclass(frozen=True)
class Request:
    """What to replay and where to put it.

    `untrusted` files are read by a child with limits, `resume` skips scans whose output is there,
    `cluster` is the address of a Ray cluster, or "local"; a worker has `gpus_per_worker` of a GPU.
    """

    sources: list[Path]
    output: Path | None
    formats: list[str]
    overwrite: bool = False
    untrusted: bool = False
    resume: bool = False
    cluster: str = ""
    gpus_per_worker: float | None = None

    def paths(self, source: Path) -> dict[str, Path]:
        """Target of every format for one scan."""
        single = len(self.sources) == 1
        return {
            name: target_path(source, self.output, name, single=single) for name in self.formats
        }


def replay(request: Request, settings: Settings) -> Exit:
    """Reconstruct all scans; one that fails does not keep the others from being done.

    Returns the gravest exit code: failed, then declined, then fallback, then done.
    """
    check_model(settings)
    targets = {source: request.paths(source) for source in request.sources}
    if request.resume:
        done = {s for s, paths in targets.items() if all(p.exists() for p in paths.values())}
        targets = {source: paths for source, paths in targets.items() if source not in done}
        print_line(f"{_count(len(done), 'scan')} finished before, {len(targets)} to do")
    with _output_folder(request.output):
        _check_targets(request, targets)
        if request.cluster:
            return _replay_on_cluster(targets, request, settings)
        return _replay_all(targets, request, settings)


def _replay_all(targets: dict[Path, dict[str, Path]], request: Request, settings: Settings) -> Exit:
    with_maps = "report" in request.formats
    engine: Engine | None = None
    codes = [Exit.DONE]
    for source, paths in targets.items():
        try:
            # The model is loaded once the first scan has proved to be one.
            with open_scan(source, untrusted=request.untrusted) as scan:
                found = inspect_scan(scan.header, scan.heads, settings)
                engine = engine or make_engine(settings, with_maps=with_maps)
                codes.append(replay_scan(scan, found, paths, engine, settings, request.overwrite))
        except Exception as error:
            if len(targets) == 1:
                raise ScanError(source.name, error) from error
            print_warning(f"{source.name}: {describe(error)}")
            codes.append(exit_code(error))
    return _gravest(codes)


def _gravest(codes: Iterable[Exit]) -> Exit:
    order = (Exit.DONE, Exit.FALLBACK, Exit.DECLINED, Exit.FAILED)
    return max(codes, key=order.index, default=Exit.DONE)


def _replay_on_cluster(
    targets: dict[Path, dict[str, Path]], request: Request, settings: Settings
) -> Exit:
    """Replay on the workers of a cluster."""
    cluster = import_cluster()
    pool = cluster.Pool(
        request.cluster, device=settings.device, gpus_per_worker=request.gpus_per_worker
    )
    with pool:
        engine = cluster.ClusterEngine(settings, pool, with_maps="report" in request.formats)
        return _replay_at_once(targets, request, settings, engine, pool.n_wanted)


def _replay_at_once(
    targets: dict[Path, dict[str, Path]],
    request: Request,
    settings: Settings,
    engine: Engine,
    n_scans: int,
) -> Exit:
    """Several scans at once; one bar for all of them."""

    def one(source: Path) -> Exit:
        try:
            with open_scan(source, untrusted=request.untrusted) as scan:
                found = inspect_scan(scan.header, scan.heads, settings)
                paths = targets[source]
                return replay_scan(
                    scan, found, paths, engine, settings, request.overwrite, has_bar=False
                )
        except Exception as error:
            print_warning(f"{source.name}: {describe(error)}")
            return exit_code(error)

    codes = []
    with ThreadPoolExecutor(n_scans) as pool, progress(len(targets), "scans") as tick:
        for code in pool.map(one, targets):
            codes.append(code)
            tick()
    return _gravest(codes)


def replay_scan(
    scan: ScanFile | SandboxedScan,
    found: Inspection,
    paths: dict[str, Path],
    engine: Engine,
    settings: Settings,
    overwrite: bool = False,
    *,
    has_bar: bool = True,
) -> Exit:
    """Reconstruct one open scan, inspected before, into its files."""
    start = time.perf_counter()
    if found.n_outside:
        print_warning(
            f"{scan.path.name}: {found.n_outside} lines outside the encoded matrix left out"
        )
    slices = make_assembler(scan, found.plan, settings)
    job = ScanJob(scan.path, found.plan, slices, engine, settings)
    done = Summary(scan.path.name)
    with ExitStack() as stack:
        writers = open_writers(stack, paths, job, overwrite=overwrite)
        bar = nullcontext(lambda: None)
        if has_bar:
            bar = progress(slices.n_steps, scan.path.name)
        tick = stack.enter_context(bar)
        images = reconstruct(file_tasks(slices), engine, settings, tick)
        for result in to_results(images, found.plan.header, settings):
            done.add(result)
            for writer in writers:
                writer.write(result)
    files = ", ".join(map(str, paths.values()))
    done.warn()
    print_line(f"{done.line()} in {time.perf_counter() - start:.1f} s -> {files}")
    return Exit.FALLBACK if done.n_fallback else Exit.DONE


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


@contextmanager
def _output_folder(folder: Path | None) -> Iterator[None]:
    """Make the folder if it is one and new, and take it away again if nothing came into it."""
    if folder is None or folder.suffix or folder.exists():
        yield
        return
    folder.mkdir()
    try:
        yield
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _check_targets(request: Request, targets: dict[Path, dict[str, Path]]) -> None:
    paths = [path for group in targets.values() for path in group.values()]
    if len(set(paths)) < len(paths):
        raise UsageError("several scans have one name and would write the same file")
    for source in targets:
        if source.resolve() in {p.resolve() for p in paths}:
            raise UsageError(f"{source} would be replaced by its own images")
    check_paths(paths, overwrite=request.overwrite)
