"""`jrsr convert`: ISMRMRD images of JRSR, Gadgetron or FIRE to DICOM and NIfTI."""

from contextlib import ExitStack
from pathlib import Path

from gadget.console import print_line
from gadget.errors import Exit, ScanError, UsageError
from gadget.output.formats import ENDINGS, PLANE_WRITERS, check_targets, parse_formats
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.files.images import ImageFile, Images
from jrsr_core.mrd.files.sandbox import Sandbox
from jrsr_core.mrd.files.sandboxed_images import SandboxedImages
from jrsr_core.spelling import nearest


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
    source: Path,
    folder: Path | None,
    formats: list[str],
    *,
    overwrite: bool = False,
    sandbox: Sandbox | None = None,
) -> Exit:
    """Write all series of a file in every format, into `folder` or beside the file.

    The file is read in a subprocess of `sandbox` where there is one.

    Returns
    -------
    Exit
        FALLBACK if images were left out, DONE if not.

    Raises
    ------
    ScanError
        No ISMRMRD images in the file, or images without a position.
    UsageError
        `folder` is not a folder.
    OSError
        A target may not be written.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    place = folder or source.parent
    paths = {name: place / f"{source.stem}{ENDINGS[name]}" for name in formats}
    check_targets(paths, overwrite=overwrite)
    n_images, is_complete = 0, True
    try:
        with ExitStack() as stack:
            images: Images = SandboxedImages(source, sandbox) if sandbox else ImageFile(source)
            stack.enter_context(images)
            writers = [
                stack.enter_context(PLANE_WRITERS[name](path, images.header, overwrite=overwrite))
                for name, path in paths.items()
            ]
            for group, image in images.with_groups():
                n_images += 1
                for writer in writers:
                    is_complete &= writer.write(image, group)
            if not n_images:
                raise BadScan("no ISMRMRD images in the file")
    except (OSError, ValueError) as error:
        raise ScanError(source.name, error) from error
    files = ", ".join(map(str, paths.values()))
    print_line(f"{source.name}: {n_images} image{'s' if n_images > 1 else ''} -> {files}")
    return Exit.DONE if is_complete else Exit.FALLBACK
