"""Chooses output formats and opens their writers."""

from contextlib import ExitStack
from pathlib import Path

from gadget.errors import UsageError
from gadget.output.dicom.writer import DicomWriter, EnhancedWriter, is_own_file
from gadget.output.report.writer import ReportWriter
from jrsr_core.common.atomic import check_target
from jrsr_core.common.spelling import nearest

from .base import ScanJob, ScanWriter, Writer
from .mrd import MrdWriter
from .names import ENDINGS, is_folder, named_format
from .nifti.writer import NiftiWriter, missing_gradients, require_nibabel
from .options import OutputOptions
from .pictures.planes_png import PlanesPngWriter
from .pictures.png import PngWriter
from .series.store import PlaneWriter

PLANE_WRITERS: dict[str, type[PlaneWriter]] = {
    "dicom": DicomWriter,
    "enhanced": EnhancedWriter,
    "nifti": NiftiWriter,
    "png": PlanesPngWriter,
}
"""Writers of MRD images, ours or those of others."""

SCAN_WRITERS: dict[str, type[ScanWriter]] = {"png": PngWriter, "report": ReportWriter}
"""Writers that need the scan and what its reconstruction reports."""


def parse_formats(text: str | None, output: Path | None, *, default: str) -> list[str]:
    """Return the formats of a comma-separated list, each once.

    Parameters
    ----------
    text
        The list; None for the format of the output file, or the default for a folder.
    output
        File or folder, see `target_path`.

    Raises
    ------
    UsageError
        Unknown format, one that is not that of the output file, or one whose library is not
        installed.
    """
    named = named_format(output)
    text = (named or default) if text is None else text
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names or [""]:
        if name not in ENDINGS:
            raise UsageError(f"unknown format {name!r}{nearest(name, ENDINGS)}")
    if named and named not in names:
        raise UsageError(f"{output} is the name of a file in format {named}, --format is {text}")
    if "nifti" in names:
        require_nibabel()
    return list(dict.fromkeys(names))


def check_targets(targets: dict[str, Path], *, overwrite: bool) -> None:
    """Raise before any work, as `common.atomic.check_target`, if a target may not be written."""
    for name, path in targets.items():
        check_target(
            path, overwrite=overwrite, is_ours=is_own_file if is_folder(name, path) else None
        )


def is_finished(name: str, path: Path) -> bool:
    """Return whether the target of a format was written by JRSR: it has its name only then.

    What is missing beside it is another matter, see `missing_files`.
    """
    if not is_folder(name, path):
        return path.is_file() and path.stat().st_size > 0
    files = list(path.iterdir()) if path.is_dir() else []
    return bool(files) and all(map(is_own_file, files))


def missing_files(name: str, path: Path) -> list[Path]:
    """Return what JRSR wrote beside the target of a format, and is there no more."""
    return missing_gradients(path) if name == "nifti" else []


def open_writers(
    stack: ExitStack, targets: dict[str, Path], job: ScanJob, options: OutputOptions
) -> list[Writer]:
    """Enter one writer per format on the stack and return them."""

    def make(name: str, path: Path) -> Writer:
        if name in SCAN_WRITERS:
            return SCAN_WRITERS[name](path, job, overwrite=options.overwrite)
        if name in PLANE_WRITERS:
            return PLANE_WRITERS[name](path, job.header_xml, options)
        return MrdWriter(path, job, overwrite=options.overwrite)

    return [stack.enter_context(make(name, path)) for name, path in targets.items()]
