"""`jrsr convert`: ISMRMRD images of JRSR, Gadgetron or FIRE to DICOM and NIfTI."""

from contextlib import ExitStack
from pathlib import Path

from gadget.console import print_line
from gadget.errors import Exit, ScanError, UsageError
from gadget.output.formats import ENDINGS, PLANE_WRITERS, check_targets, parse_formats
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.files.images import ImageFile
from jrsr_core.spelling import nearest

<<<<<<< HEAD
CONVERTIBLE = ("dicom", "enhanced", "nifti")

PlaneWriter = DicomWriter | EnhancedWriter | NiftiWriter
=======

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
        return {name: folder / f"{self.source.stem}{ENDINGS[name]}" for name in self.formats}
>>>>>>> 676532c (Writers share one shape; planes, series and stacks apart; pictures by Pillow with captions that name what they show)


def parse_convertible(text: str) -> list[str]:
    """Return the formats of a comma-separated list.

    Raises
    ------
    UsageError
        A format that is unknown, or cannot be made from images alone.
    """
    formats = parse_formats(text)
    for name in formats:
        if name not in PLANE_WRITERS:
            raise UsageError(f"images cannot become {name!r}{nearest(name, PLANE_WRITERS)}")
    return formats


def convert_images(
    source: Path, folder: Path | None, formats: list[str], *, overwrite: bool = False
) -> Exit:
    """Write all series of a file in every format, into `folder` or beside the file.

    Raises
    ------
    ScanError
        No ISMRMRD images in the file, or images without a position.
    UsageError
        `folder` is not a folder.
    OSError
        A target may not be written.
    """
<<<<<<< HEAD
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    place = folder or source.parent
    paths = {name: place / f"{source.stem}{FORMATS[name][0]}" for name in formats}
    check_paths(list(paths.values()), overwrite=overwrite)
=======
    paths = request.paths()
    if request.output is not None and not request.output.is_dir():
        raise UsageError(f"{request.output} is not a folder")
    check_targets(paths, overwrite=request.overwrite)
>>>>>>> 676532c (Writers share one shape; planes, series and stacks apart; pictures by Pillow with captions that name what they show)
    n_images = 0
    try:
        images = ImageFile(source)
        with ExitStack() as stack:
<<<<<<< HEAD
            writers: list[PlaneWriter] = [
                stack.enter_context(_writer(name, path, images.header, overwrite))
=======
            writers = [
                stack.enter_context(
                    PLANE_WRITERS[name](path, images.header, overwrite=request.overwrite)
                )
>>>>>>> 676532c (Writers share one shape; planes, series and stacks apart; pictures by Pillow with captions that name what they show)
                for name, path in paths.items()
            ]
            for group, image in images.with_groups():
                n_images += 1
                for writer in writers:
                    writer.write(image, group)
            if not n_images:
                raise BadScan("no ISMRMRD images in the file")
    except (OSError, ValueError) as error:
        raise ScanError(source.name, error) from error
    files = ", ".join(map(str, paths.values()))
    print_line(f"{source.name}: {n_images} image{'s' if n_images > 1 else ''} -> {files}")
    return Exit.DONE
<<<<<<< HEAD


def _writer(name: str, path: Path, xml: str, overwrite: bool) -> PlaneWriter:
    if name == "nifti":
        return NiftiWriter(path, overwrite=overwrite)
    kind = DicomWriter if name == "dicom" else EnhancedWriter
    return kind(path, xml, overwrite=overwrite)
=======
>>>>>>> 676532c (Writers share one shape; planes, series and stacks apart; pictures by Pillow with captions that name what they show)
