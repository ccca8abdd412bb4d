"""Chooses output formats and opens their writers."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from gadget.errors import UsageError
from gadget.output.dicom.writer import DicomWriter, EnhancedWriter, is_own_file
from gadget.output.report.writer import ReportWriter
from gadget.output.study import Study
from jrsr_core.atomic import check_target
from jrsr_core.spelling import nearest

from .base import Result, ScanJob, ScanWriter
from .mrd import MrdWriter
from .names import ENDINGS, FOLDERS, is_folder, named_format
from .nifti import NiftiWriter, require_nibabel
from .planes_png import PlanesPngWriter
from .png import PngWriter
from .series import PlaneWriter

PLANE_WRITERS: dict[str, type[PlaneWriter]] = {
    "dicom": DicomWriter,
    "enhanced": EnhancedWriter,
    "nifti": NiftiWriter,
    "png": PlanesPngWriter,
}
"""Writers of MRD images, ours or those of others."""

PHASE_FORMATS = ("dicom", "enhanced", "nifti")
"""Formats that hold the phase of complex images as a further series."""

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
    """Raise before any work, as `jrsr_core.atomic.check_target`, if a target may not be written."""
    for name, path in targets.items():
        check_target(
            path, overwrite=overwrite, is_ours=is_own_file if is_folder(name, path) else None
        )


def is_finished(name: str, path: Path) -> bool:
    """Return whether the target of a format was written by JRSR: it has its name only then."""
    if not is_folder(name, path):
        return path.is_file() and path.stat().st_size > 0
    files = list(path.iterdir()) if path.is_dir() else []
    return bool(files) and all(map(is_own_file, files))


def plane_writer(
    name: str,
    path: Path,
    header_xml: str,
    *,
    overwrite: bool,
    study: Study | None = None,
    with_phase: bool = False,
) -> PlaneWriter:
    """Return the writer of a format in `PLANE_WRITERS`.

    Only DICOM images join a study; those of `PHASE_FORMATS` may have a phase.
    """
    kind = PLANE_WRITERS[name]
    if issubclass(kind, DicomWriter):
        writer: PlaneWriter = kind(path, header_xml, overwrite=overwrite, study=study)
    else:
        writer = kind(path, header_xml, overwrite=overwrite)
    writer.with_phase = with_phase and name in PHASE_FORMATS
    return writer


def check_phase(formats: Iterable[str]) -> None:
    """Raise `UsageError` if a phase is wanted in formats that cannot hold one."""
    if not any(name in PHASE_FORMATS for name in formats):
        raise UsageError(f"--phase is given, but no format is {', '.join(PHASE_FORMATS)}")


def check_study(study: Study | None, formats: Iterable[str], n_scans: int = 1) -> None:
    """Raise `UsageError` if a study is given without DICOM, or one series number for many scans."""
    if study and not any(name in FOLDERS for name in formats):
        raise UsageError("a study or series number is given, but no format is dicom or enhanced")
    if study and study.series_number is not None and n_scans > 1:
        raise UsageError(f"--series-number is for one scan, there are {n_scans}")


def open_writers(
    stack: ExitStack,
    targets: dict[str, Path],
    job: ScanJob,
    *,
    overwrite: bool,
    study: Study | None = None,
    with_phase: bool = False,
) -> list[Callable[[Result], bool | None]]:
    """Enter one writer per format on the stack; return the functions that add an image to each.

    They return False if the format cannot hold the image, which is left out then.
    """

    def enter(name: str, path: Path) -> Callable[[Result], bool | None]:
        if name in SCAN_WRITERS:
            return stack.enter_context(SCAN_WRITERS[name](path, job, overwrite=overwrite)).write
        if name in PLANE_WRITERS:
            planes = plane_writer(
                name,
                path,
                job.header_xml,
                overwrite=overwrite,
                study=study,
                with_phase=with_phase,
            )
            stack.enter_context(planes)
            return lambda result: planes.write(result.mrd)
        return stack.enter_context(MrdWriter(path, job, overwrite=overwrite)).write

    return [enter(name, path) for name, path in targets.items()]
