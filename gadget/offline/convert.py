"""`jrsr convert`: ISMRMRD images of JRSR, Gadgetron or FIRE to DICOM, NIfTI and PNG."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from gadget.console import print_line, print_warning
from gadget.errors import Exit, ScanError, UsageError
from gadget.inputs import check_inputs_stay
from gadget.output.formats import (
    PLANE_WRITERS,
    check_phase,
    check_study,
    check_targets,
    parse_formats,
    plane_writer,
)
from gadget.output.names import target_path
from gadget.output.study import Study
from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.files.images import ImageFile, Images
from jrsr_core.mrd.files.sandbox import Sandbox
from jrsr_core.mrd.files.sandboxed_images import SandboxedImages
from jrsr_core.mrd.files.scan import holds_acquisitions
from jrsr_core.mrd.geometry import direction_note
from jrsr_core.spelling import nearest

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
    *,
    overwrite: bool = False,
    sandbox: Sandbox | None = None,
    study: Study | None = None,
    with_phase: bool = False,
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
    sandbox
        Place of the subprocess that reads the file; None to read it here.
    study
        Study that DICOM images join; None for that of the scan header.
    with_phase
        Add the phase of complex images to DICOM and NIfTI as a further series.

    Returns
    -------
    Exit
        FALLBACK if images were left out, DONE if not.

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
    check_study(study, formats)
    if with_phase:
        check_phase(formats)
    paths = {name: target_path(source.stem, source.parent, output, name) for name in formats}
    with output_folder(output):
        check_targets(paths, overwrite=overwrite)
        check_inputs_stay(paths.values(), [source, study.template if study else None])
        n_images, is_complete, note = _convert(
            source, paths, sandbox, study, overwrite=overwrite, with_phase=with_phase
        )
    if note:
        print_warning(f"{source.name}: {note}")
    files = ", ".join(map(str, paths.values()))
    print_line(f"{source.name}: {n_images} image{'s' if n_images > 1 else ''} -> {files}")
    return Exit.DONE if is_complete else Exit.FALLBACK


def _convert(
    source: Path,
    paths: dict[str, Path],
    sandbox: Sandbox | None,
    study: Study | None,
    *,
    overwrite: bool,
    with_phase: bool,
) -> tuple[int, bool, str]:
    """Write all images.

    Returns their number, whether every format contains all of them, and a note on their directions.
    """
    n_images, is_complete, has_phase = 0, True, False
    try:
        with ExitStack() as stack:
            images: Images = SandboxedImages(source, sandbox) if sandbox else ImageFile(source)
            stack.enter_context(images)
            writers = [
                stack.enter_context(
                    plane_writer(
                        name,
                        path,
                        images.header,
                        overwrite=overwrite,
                        study=study,
                        with_phase=with_phase,
                    )
                )
                for name, path in paths.items()
            ]
            for group, image in images.with_groups():
                n_images += 1
                has_phase |= np.iscomplexobj(image.data)
                for writer in writers:
                    is_complete &= writer.write(image, group)
            if not n_images:
                raise _without_images(source, sandbox)
            if with_phase and not has_phase:
                raise UnsupportedScan("no complex images, so there is no phase: omit --phase")
            heads = np.concatenate([series.heads for series in images.series])
    except (OSError, ValueError) as error:
        raise ScanError(source.name, error) from error
    return n_images, is_complete, direction_note(heads, "images")


def _without_images(source: Path, sandbox: Sandbox | None) -> ValueError:
    """Return the error of a file without images: raw data, or something else."""
    look = sandbox.holds_acquisitions if sandbox else holds_acquisitions
    if look(source):
        return UnsupportedScan("raw data without images; `jrsr recon` makes images of it")
    return BadScan("no ISMRMRD images in the file")
