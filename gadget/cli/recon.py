"""The command `jrsr recon`.

What it needs is imported when it runs, so that `jrsr --help` starts without torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from gadget.compute.ray import check_share
from gadget.console import log_to
from gadget.errors import UsageError
from gadget.settings import read_settings

from . import completion
from .options import (
    Accession,
    Cluster,
    Dataset,
    Device,
    GpusPerWorker,
    Model,
    Overwrite,
    Pairs,
    PatientId,
    Phase,
    SeriesNumber,
    StudyUid,
    Template,
    Untrusted,
    Verbose,
    app,
)


@app.command()
def recon(
    inputs: Annotated[list[Path], typer.Argument(help="ISMRMRD files, or folders of them.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File or folder.")] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Formats, separated by commas; default by the extension of -o, else mrd.",
            autocompletion=completion.formats,
        ),
    ] = None,
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    report: Annotated[bool, typer.Option("--report", help="Add an HTML report per scan.")] = False,
    overwrite: Overwrite = False,
    untrusted: Untrusted = False,
    dataset: Dataset = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Make only the files that are missing.")
    ] = False,
    cluster: Cluster = "",
    gpus_per_worker: GpusPerWorker = None,
    phase: Phase = False,
    template: Template = None,
    patient_id: PatientId = "",
    accession: Accession = "",
    study_uid: StudyUid = "",
    series_number: SeriesNumber = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done; write nothing.")
    ] = False,
    verbose: Verbose = False,
    log_file: Annotated[
        Path | None, typer.Option("--log", help="Append all messages, with their time.")
    ] = None,
) -> int:
    """Reconstruct scans into high-resolution images.

    \b
    jrsr recon scan.h5                         write ISMRMRD images to scan_jrsr.h5
    jrsr recon scan.h5 -o out.nii.gz           write NIfTI; also .dcm, .png, .html (report), .h5
    jrsr recon scan.h5 -o out --format dicom   write a folder of DICOM images in out/
    jrsr recon day1/ -o out --dry-run          print what would be done
    jrsr recon scan.h5 --report                add a report on the reliability of the images
    jrsr recon day1/ day2/ -o out              reconstruct all scans of two folders
    jrsr recon scan.h5 --model cg-sense+sinc   reconstruct without a network
    jrsr recon scan.h5 --set maps=hallucination --set noise_file=noise.h5

    \b
    Formats: mrd (ISMRMRD), dicom (folder of MR images), enhanced (DICOM, one file per series),
    nifti, png (one picture), report (one page).
    Exit code: 0 done, 1 failed, 2 wrong usage or unsupported scan, 3 done but some images are
    fallback images, 130 interrupted. Files appear only when they are complete.
    """  # noqa: D301
    _check_log(log_file, output)
    with log_to(log_file, verbose=verbose):
        settings = read_settings(pairs or [], model=model, device=device)
        check_share(cluster, gpus_per_worker)
        from gadget.offline.preview import preview
        from gadget.offline.recon import ReconRequest, reconstruct_files
        from gadget.offline.scans import find_scans
        from gadget.output.options import OutputOptions
        from gadget.output.study import read_study

        found = find_scans(inputs, untrusted=untrusted)
        study = read_study(
            template,
            patient_id=patient_id,
            accession=accession,
            study_uid=study_uid,
            series_number=series_number,
        )
        request = ReconRequest(
            sources=found.scans,
            settings=settings,
            output=output,
            formats=_formats(formats, output, report=report),
            options=OutputOptions(overwrite=overwrite, study=study, with_phase=phase),
            sandboxed=found.sandboxed,
            dataset=dataset,
            resume=resume,
            cluster=cluster,
            gpus_per_worker=gpus_per_worker,
        )
        return preview(request) if dry_run else reconstruct_files(request)


def _check_log(log_file: Path | None, output: Path | None) -> None:
    """Raise `UsageError` if the log has the name of the output, or one that an output may have."""
    if log_file is None:
        return
    from gadget.output.names import EXTENSIONS, extension_of

    if output is not None and log_file.resolve() == output.resolve():
        raise UsageError(f"--log {log_file} and -o {output} are one file: name another log file")
    if extension := extension_of(log_file):
        raise UsageError(
            f"--log {log_file} has the extension {extension} of output in format "
            f"{EXTENSIONS[extension]}: name a text file, such as {log_file.name}.log"
        )


def _formats(text: str | None, output: Path | None, *, report: bool) -> list[str]:
    from gadget.output.formats import parse_formats

    names = parse_formats(text, output, default="mrd")
    return list(dict.fromkeys([*names, "report"])) if report else names
