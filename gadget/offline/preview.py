"""`jrsr recon --dry-run`: what a run would do, without loading the model or writing a file."""

from pathlib import Path

from gadget.compute.model import check_model
from gadget.console import print_line, print_warning
from gadget.errors import Exit, describe, exit_code, most_severe
from gadget.scan.inspect import inspect_scan
from jrsr_core.common.spelling import counted
from jrsr_core.mrd.files.sandbox import Sandbox

from .recon import ReconRequest
from .scans import open_scan
from .targets import is_new_folder


def preview(request: ReconRequest) -> Exit:
    """Print the images and files of every scan; return the exit code that is known beforehand.

    Raises
    ------
    UsageError, CardError, OSError
        As `reconstruct_files`.
    """
    check_model(request.settings)
    targets = request.targets()
    if request.resume:
        targets, _ = request.missing(targets)
    if not is_new_folder(request.output):
        request.check_all(targets)
    codes = []
    with Sandbox() as sandbox:
        for source, paths in targets.items():
            place = sandbox if source in request.sandboxed else None
            codes.append(_preview_scan(source, paths, request, place))
    print_line("dry run: nothing was written")
    return most_severe(codes)


def _preview_scan(
    source: Path, paths: dict[str, Path], request: ReconRequest, sandbox: Sandbox | None
) -> Exit:
    try:
        with open_scan(source, sandbox, dataset=request.dataset) as scan:
            found = inspect_scan(scan.header, scan, request.settings)
            request.warn_of_other_scans(scan)
    except Exception as error:
        print_warning(f"{source.name}: {describe(error)}")
        return exit_code(error)
    n = sum(space.n_images for space in found.spaces)
    n_fallback = sum(space.n_without_acs for space in found.spaces) + len(found.plan.incomplete)
    sizes = dict.fromkeys(" x ".join(map(str, space.hr_matrix)) for space in found.spaces)
    note = f", {n_fallback} of them fallback images" if n_fallback else ""
    files = ", ".join(map(str, paths.values()))
    what = f"{counted(n, 'image')} {' and '.join(sizes)} by {request.settings.model}"
    print_line(f"{source.name}: {what}{note} -> {files}")
    return Exit.FALLBACK if n_fallback else Exit.DONE
