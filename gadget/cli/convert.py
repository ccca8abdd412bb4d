"""The command `jrsr convert`.

What it needs is imported when it runs, so that `jrsr --help` starts without torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from . import completion
from .options import (
    Accession,
    Overwrite,
    PatientId,
    Phase,
    SeriesNumber,
    StudyUid,
    Template,
    Untrusted,
    app,
)


@app.command()
def convert(
    images: Annotated[Path, typer.Argument(help="ISMRMRD images, as written by recon and send.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File or folder.")] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="dicom, enhanced, nifti, png; default by the extension of -o, else dicom.",
            autocompletion=completion.formats,
        ),
    ] = None,
    overwrite: Overwrite = False,
    untrusted: Untrusted = False,
    phase: Phase = False,
    template: Template = None,
    patient_id: PatientId = "",
    accession: Accession = "",
    study_uid: StudyUid = "",
    series_number: SeriesNumber = None,
) -> int:
    """Convert ISMRMRD images, also of Gadgetron, to DICOM, NIfTI or PNG.

    \b
    jrsr convert images.h5                     write a folder of DICOM images, images_dicom/
    jrsr convert images.h5 -o head.nii.gz      write NIfTI; also .dcm (Enhanced MR), .png
    """  # noqa: D301
    from gadget.offline.convert import convert_images, parse_convertible
    from gadget.output.options import OutputOptions
    from gadget.output.study import read_study
    from jrsr_core.mrd.files.sandbox import Sandbox

    study = read_study(
        template,
        patient_id=patient_id,
        accession=accession,
        study_uid=study_uid,
        series_number=series_number,
    )
    chosen = parse_convertible(formats, output)
    with Sandbox() as sandbox:
        place = sandbox if untrusted else None
        return convert_images(
            images,
            output,
            chosen,
            OutputOptions(overwrite=overwrite, study=study, with_phase=phase),
            sandbox=place,
        )
