"""Names the output formats, their targets and their writers."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from gadget.errors import UsageError
from gadget.output.dicom.writer import DicomWriter, EnhancedWriter, is_own_file
from gadget.output.report.writer import ReportWriter
from jrsr_core.atomic import check_target
from jrsr_core.mrd.files.image_writer import ImageWriter
from jrsr_core.spelling import nearest

from .base import Result, ScanJob, ScanWriter
from .nifti import NiftiWriter, require_nibabel
from .png import PngWriter
from .series import PlaneWriter

ENDINGS = {
    "mrd": ".h5",
    "dicom": "_dicom",
    "enhanced": "_enhanced",
    "nifti": ".nii.gz",
    "png": ".png",
    "report": ".html",
}
"""Format -> what the name of its target ends with."""

PLANE_WRITERS: dict[str, type[PlaneWriter]] = {
    "dicom": DicomWriter,
    "enhanced": EnhancedWriter,
    "nifti": NiftiWriter,
}
"""Writers of MRD images, ours or those of others."""

SCAN_WRITERS: dict[str, type[ScanWriter]] = {"png": PngWriter, "report": ReportWriter}
"""Writers that need the scan and what its reconstruction reports."""

FOLDERS = ("dicom", "enhanced")
"""Formats whose target is a folder."""

OTHER_SUFFIXES = (".png", ".gz", ".nii", ".html")
"""Suffixes of an output file that belong to a format other than mrd."""


def parse_formats(text: str) -> list[str]:
    """Return the formats of a comma-separated list, each once.

    Raises
    ------
    UsageError
        Unknown format, or one whose library is not installed.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names or [""]:
        if name not in ENDINGS:
            raise UsageError(f"unknown format {name!r}{nearest(name, ENDINGS)}")
    if "nifti" in names:
        require_nibabel()
    return list(dict.fromkeys(names))


def target_path(source: Path, output: Path | None, format_name: str, *, single: bool) -> Path:
    """Return the file or folder to which the images of a scan are written.

    Parameters
    ----------
    source
        The scan.
    output
        A folder, in which the target is called ``<scan>_jrsr``; None for the folder of the scan; or
        a file name, which has a suffix: other formats go beside it under the same name.
    format_name
        Key of `ENDINGS`.
    single
        Whether this is the only scan.

    Raises
    ------
    UsageError
        One file name for several scans.
    """
    ending = ENDINGS[format_name]
    name = f"{source.stem}_jrsr{ending}"
    if output is None:
        return source.parent / name
    if output.is_dir() or not output.suffix:
        return output / name
    if not single:
        raise UsageError(f"{output} is a file name, several scans need a folder")
    if format_name == "mrd" and output.suffix.lower() not in OTHER_SUFFIXES:
        return output
    stem = output.name.removesuffix(".gz").rpartition(".")[0] or output.name
    return output.with_name(stem + ending)


def check_targets(targets: dict[str, Path], *, overwrite: bool) -> None:
    """Raise before any work, as `jrsr_core.atomic.check_target`, if a target may not be written."""
    for name, path in targets.items():
        check_target(path, overwrite=overwrite, is_ours=is_own_file if name in FOLDERS else None)


def open_writers(
    stack: ExitStack, targets: dict[str, Path], job: ScanJob, *, overwrite: bool
) -> list[Callable[[Result], bool | None]]:
    """Enter one writer per format on the stack; return the functions that add an image to each.

    They return False if the format cannot hold the image, which is left out then.
    """

    def enter(name: str, path: Path) -> Callable[[Result], bool | None]:
        if name in SCAN_WRITERS:
            return stack.enter_context(SCAN_WRITERS[name](path, job, overwrite=overwrite)).write
        if name in PLANE_WRITERS:
            planes = PLANE_WRITERS[name](path, job.header_xml, overwrite=overwrite)
            stack.enter_context(planes)
            return lambda result: planes.write(result.mrd)
        images = stack.enter_context(ImageWriter(path, job.header_xml, overwrite=overwrite))
        return lambda result: images.write(result.mrd)

    return [enter(name, path) for name, path in targets.items()]
