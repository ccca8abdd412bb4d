"""What replay writes: one writer per format, all behind `write(result)` in a context.

A format is a name in `FORMATS`; each writer leaves its file, or folder, only when the scan is
complete.
"""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from gadget.errors import UsageError
from gadget.output.dicom.writer import SUFFIX, DicomWriter, EnhancedWriter
from gadget.output.report.writer import ReportWriter
from jrsr_core.atomic import check_target, write_bytes
from jrsr_core.mrd.files.image_writer import ImageWriter
from jrsr_core.spelling import nearest

from .base import Result, ScanJob
from .nifti import NiftiWriter, require_nibabel
from .picture import central_planes, magnitude_mosaic, pick_tiles


class Writer(Protocol):
    """A file in the making."""

    path: Path

    def write(self, result: Result) -> None:
        """Add one image."""
        ...


class MrdWriter(ImageWriter):
    """ISMRMRD file with the group ``/dataset/image_<series>``."""

    def __init__(self, path: Path, job: ScanJob, *, overwrite: bool) -> None:
        super().__init__(path, job.header_xml, overwrite=overwrite)

    def write(self, result: Result) -> None:
        """Append the image with its header."""
        super().write(result.mrd)


class DicomFolderWriter(DicomWriter):
    """Folder of classic MR images, a series per image series."""

    def __init__(self, path: Path, job: ScanJob, *, overwrite: bool) -> None:
        super().__init__(path, job.header_xml, overwrite=overwrite)

    def write(self, result: Result) -> None:
        """Add the planes of the image."""
        self.write_image(result.mrd)


class EnhancedFolderWriter(EnhancedWriter):
    """Folder of Enhanced MR images, one file per image series."""

    def __init__(self, path: Path, job: ScanJob, *, overwrite: bool) -> None:
        super().__init__(path, job.header_xml, overwrite=overwrite)

    def write(self, result: Result) -> None:
        """Add the planes of the image."""
        self.write_image(result.mrd)


class NiftiFileWriter(NiftiWriter):
    """Compressed NIfTI, a file per stack of slices."""

    def __init__(self, path: Path, job: ScanJob, *, overwrite: bool) -> None:
        super().__init__(path, overwrite=overwrite)

    def write(self, result: Result) -> None:
        """Add the planes of the image."""
        self.write_image(result.mrd)


class PngWriter:
    """One picture of all images, or of evenly spread ones where there are many."""

    def __init__(self, path: Path, job: ScanJob, *, overwrite: bool) -> None:
        self.path = path
        self._overwrite = overwrite
        check_target(path, overwrite=overwrite)
        self._wanted = pick_tiles(len(job.plan.groups))
        self._tiles: list = []
        self._n_seen = 0

    def write(self, result: Result) -> None:
        """Keep the magnitude if the picture shows it, of a volume its three central planes."""
        if result.map_name:
            return
        if self._n_seen in self._wanted:
            self._tiles += central_planes(result.image.magnitude.cpu().numpy())
        self._n_seen += 1

    def __enter__(self) -> "PngWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            write_bytes(self.path, magnitude_mosaic(self._tiles), overwrite=self._overwrite)


FORMATS = {
    "mrd": (".h5", MrdWriter),
    "dicom": ("_dicom", DicomFolderWriter),
    "enhanced": ("_enhanced", EnhancedFolderWriter),
    "nifti": (".nii.gz", NiftiFileWriter),
    "png": (".png", PngWriter),
    "report": (".html", ReportWriter),
}
"""Name -> (what the target's name ends with, writer)."""

FOLDERS = tuple(FORMATS[name][0] for name in ("dicom", "enhanced"))

OTHER_SUFFIXES = (".png", ".gz", ".nii", ".html")
"""Suffixes of an output file that mean another format than mrd."""


def parse_formats(text: str) -> list[str]:
    """Return the formats of a comma-separated list.

    Raises
    ------
    UsageError
        Unknown format.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names or [""]:
        if name not in FORMATS:
            raise UsageError(f"unknown format {name!r}{nearest(name, FORMATS)}")
    if "nifti" in names:
        require_nibabel()
    return list(dict.fromkeys(names))


def target_path(source: Path, output: Path | None, format_name: str, *, single: bool) -> Path:
    """Return where the images of a scan go.

    Without `output`: beside the scan, as ``<scan>_jrsr``. With a file name (it has a suffix): that
    file, for one scan only, and other formats beside it under the same name. Otherwise `output` is
    a folder.
    """
    suffix = FORMATS[format_name][0]
    name = f"{source.stem}_jrsr{suffix}"
    if output is None:
        return source.parent / name
    if output.is_dir() or not output.suffix:
        return output / name
    if not single:
        raise UsageError(f"{output} is a file name, several scans need a folder")
    if format_name == "mrd" and output.suffix.lower() not in OTHER_SUFFIXES:
        return output
    stem = output.name.removesuffix(".gz").rpartition(".")[0] or output.name
    return output.with_name(stem + suffix)


def check_paths(paths: list[Path], *, overwrite: bool) -> None:
    """Raise before any work if one of the targets may not be written."""
    for path in paths:
        is_folder = path.name.endswith(FOLDERS)
        check_target(path, overwrite=overwrite, folder_of=SUFFIX if is_folder else "")


def open_writers(
    stack: ExitStack, paths: dict[str, Path], job: ScanJob, *, overwrite: bool
) -> list[Writer]:
    """Enter one writer per format on the stack."""
    return [
        stack.enter_context(FORMATS[name][1](path, job, overwrite=overwrite))
        for name, path in paths.items()
    ]
