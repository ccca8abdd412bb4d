"""`jrsr convert`: ISMRMRD images of JRSR, Gadgetron or FIRE to DICOM, NIfTI and PNG."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from gadget.console import print_line, print_warning
from gadget.errors import Exit, ScanError, UsageError
from gadget.inputs import check_inputs_stay
from gadget.output.formats import PLANE_WRITERS, check_targets, parse_formats
from gadget.output.names import target_path
from gadget.output.options import DEFAULTS, OutputOptions
from gadget.output.series.store import PlaneWriter
from jrsr_core.common.spelling import counted, nearest
from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.files.images import ImageFile, Images
from jrsr_core.mrd.files.sandbox import Sandbox
from jrsr_core.mrd.files.sandboxed_images import SandboxedImages
from jrsr_core.mrd.files.scan import holds_acquisitions
from jrsr_core.mrd.images import is_fallback
from jrsr_core.mrd.lines.geometry import direction_note

from .targets import output_folder


def parse_convertible(text: str | None, output: Path | None) -> list[str]:
    """Return the formats of a comma-separated list, or that of the output file.

    Raises
    ------
    UsageError
        A format that is unknown, or cannot be made from images alone; otherwise as
        `parse_formats`.
    """
    formats = parse_formats(text, output, default="dicom")
    for name in formats:
        if name not in PLANE_WRITERS:
            raise UsageError(f"images cannot become {name!r}{nearest(name, PLANE_WRITERS)}")
    return formats


def convert_images(
    source: Path,
    output: Path | None,
    formats: list[str],
    options: OutputOptions = DEFAULTS,
    *,
    sandbox: Sandbox | None = None,
) -> Exit:
    """Write all series of a file in every format.

    Parameters
    ----------
    source
        File of ISMRMRD images.
    output
        File, or folder, which is made if it does not exist; None for the folder of the file.
    formats
        Keys of `PLANE_WRITERS`.
    options
        How the images are written.
    sandbox
        Place of the subprocess that reads the file; None to read it here.

    Returns
    -------
    Exit
        FALLBACK if images were left out or are fallback images, DONE if not.

    Raises
    ------
    ScanError
        No ISMRMRD images in the file, or images without a position.
    FileNotFoundError
        No such file.
    OSError
        A target may not be written.
    """
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file")
    options.check(formats)
    paths = {name: target_path(source.stem, source.parent, output, name) for name in formats}
    with output_folder(output):
        check_targets(paths, overwrite=options.overwrite)
        template = options.study.template if options.study else None
        check_inputs_stay(paths.values(), [source, template])
        n_images, n_fallback, is_complete, note = _convert(source, paths, options, sandbox)
    if note:
        print_warning(f"{source.name}: {note}")
    files = ", ".join(map(str, paths.values()))
    marked = f", {n_fallback} of them fallback images" if n_fallback else ""
    print_line(f"{source.name}: {counted(n_images, 'image')}{marked} -> {files}")
    return Exit.DONE if is_complete and not n_fallback else Exit.FALLBACK


def _convert(
    source: Path, paths: dict[str, Path], options: OutputOptions, sandbox: Sandbox | None
) -> tuple[int, int, bool, str]:
    """Write all images.

    Returns their number, that of fallback images, whether every format contains all of them, and a
    note on their directions.
    """
    n_images, n_fallback, is_complete = 0, 0, True
    try:
        with ExitStack() as stack:
            images: Images = SandboxedImages(source, sandbox) if sandbox else ImageFile(source)
            stack.enter_context(images)
            writers = [
                stack.enter_context(PLANE_WRITERS[name](path, images.header, options))
                for name, path in paths.items()
            ]
            for group, image in images.with_groups():
                n_images += 1
                n_fallback += is_fallback(image.meta)
                for writer in writers:
                    is_complete &= writer.write(image, group)
            if not n_images:
                raise _without_images(source, sandbox)
            if options.with_phase:
                _check_phase(writers, only_fallback=n_fallback == n_images)
            heads = np.concatenate([series.heads for series in images.series])
    except (OSError, ValueError) as error:
        raise ScanError(source.name, error) from error
    return n_images, n_fallback, is_complete, direction_note(heads, "image")


def _check_phase(writers: list[PlaneWriter], *, only_fallback: bool) -> None:
    """Raise `UnsupportedScan` if no series is a phase; why all images are left out comes first."""
    if any(writer.has_phase for writer in writers):
        return
    if any(writer.has_images for writer in writers):
        which = "fallback images" if only_fallback else "magnitudes"
        left_out = any(writer.left_out for writer in writers)
        what = "all images that can be written" if left_out else "all images"
        raise UnsupportedScan(f"{what} are {which}, without a phase: omit --phase")


def _without_images(source: Path, sandbox: Sandbox | None) -> ValueError:
    """Return the error of a file without images: raw data, or something else."""
    look = sandbox.holds_acquisitions if sandbox else holds_acquisitions
    if look(source):
        return UnsupportedScan("raw data without images; `jrsr recon` makes images of it")
    return BadScan("no ISMRMRD images in the file")
