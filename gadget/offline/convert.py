"""`jrsr convert`: ISMRMRD images, ours or those of Gadgetron and FIRE, into DICOM and NIfTI."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gadget.console import print_line
from gadget.errors import Exit, ScanError, UsageError
from gadget.output.dicom.writer import DicomWriter, EnhancedWriter
from gadget.output.formats import FORMATS, check_paths, parse_formats
from gadget.output.nifti import NiftiWriter
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.files.images import ImageFile
from jrsr_core.spelling import nearest

CONVERTIBLE = ("dicom", "enhanced", "nifti")


@dataclass(frozen=True)
class ConvertRequest:
    """What to convert and where to put it."""

    source: Path
    output: Path | None
    formats: list[str]
    overwrite: bool = False

    def paths(self) -> dict[str, Path]:
        """Target of every format."""
        folder = self.output or self.source.parent
        return {name: folder / f"{self.source.stem}{FORMATS[name][0]}" for name in self.formats}


def parse_convertible(text: str) -> list[str]:
    """Return the formats of a comma-separated list; `UsageError` for those of a scan."""
    formats = parse_formats(text)
    for name in formats:
        if name not in CONVERTIBLE:
            raise UsageError(f"images cannot become {name!r}{nearest(name, CONVERTIBLE)}")
    return formats


def convert(request: ConvertRequest) -> Exit:
    """Write all series of a file in every format.

    Raises
    ------
    ScanError
        No ISMRMRD images in the file, or images without a place in space.
    """
    paths = request.paths()
    if request.output is not None and not request.output.is_dir():
        raise UsageError(f"{request.output} is not a folder")
    check_paths(list(paths.values()), overwrite=request.overwrite)
    n_images = 0
    try:
        images = ImageFile(request.source)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(_writer(name, path, images.header, request.overwrite))
                for name, path in paths.items()
            ]
            for group, image in images.with_groups():
                n_images += 1
                for writer in writers:
                    writer.write_image(image, group)
            if not n_images:
                raise BadScan("no ISMRMRD images in the file")
    except (OSError, ValueError) as error:
        raise ScanError(request.source.name, error) from error
    files = ", ".join(map(str, paths.values()))
    print_line(f"{request.source.name}: {n_images} image{'s' if n_images > 1 else ''} -> {files}")
    return Exit.DONE


def _writer(
    name: str, path: Path, xml: str, overwrite: bool
) -> DicomWriter | EnhancedWriter | NiftiWriter:
    if name == "nifti":
        return NiftiWriter(path, overwrite=overwrite)
    kind = DicomWriter if name == "dicom" else EnhancedWriter
    return kind(path, xml, overwrite=overwrite)
