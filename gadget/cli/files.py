"""Commands that read and write files: recon, convert, demo, check."""

from pathlib import Path
from typing import Annotated

import typer

from gadget.compute.ray.available import check_share
from gadget.console import log_to, print_line
from gadget.errors import Exit

from .options import (
    Cluster,
    Device,
    GpusPerWorker,
    Model,
    Overwrite,
    Pairs,
    Untrusted,
    Verbose,
    app,
    settings_of,
)


@app.command()
def recon(
    inputs: Annotated[list[Path], typer.Argument(help="ISMRMRD files, or folders of them.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File or folder.")] = None,
    formats: Annotated[
        str, typer.Option("--format", help="One or several of those below, with commas.")
    ] = "mrd",
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    report: Annotated[bool, typer.Option("--report", help="Add a page per scan (HTML).")] = False,
    overwrite: Overwrite = False,
    untrusted: Untrusted = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out scans whose output is there.")
    ] = False,
    cluster: Cluster = "",
    gpus_per_worker: GpusPerWorker = None,
    verbose: Verbose = False,
    log_file: Annotated[
        Path | None, typer.Option("--log", help="Append all that is said, with its time.")
    ] = None,
) -> int:
    """Reconstruct scans into high-resolution images.

    \b
    jrsr recon scan.h5                         scan_jrsr.h5 beside it: ISMRMRD images
    jrsr recon scan.h5 -o out --format dicom   a folder of DICOM images in out/
    jrsr recon scan.h5 --report                and a page that shows what to trust
    jrsr recon day1/ day2/ -o out              every scan of two folders
    jrsr recon scan.h5 --model cg-sense+sinc   the same without a network
    jrsr recon scan.h5 --set maps=hallucination --set noise_file=noise.h5

    \b
    Formats: mrd (ISMRMRD), dicom (folder of MR images), enhanced (DICOM, one file per series),
    nifti, png (one picture), report (one page).
    Exit code: 0 done, 1 failed, 2 wrong usage or a scan we decline, 3 done but some images are
    fallback images, 130 interrupted. Nothing is left half written.
    """  # noqa: D301
    settings = settings_of(pairs, model, device)
    check_share(cluster, gpus_per_worker)
    from gadget.offline.recon import ReconRequest, reconstruct_files
    from gadget.offline.scans import find_scans
    from gadget.output.formats import parse_formats

    request = ReconRequest(
        sources=find_scans(inputs, untrusted=untrusted),
        settings=settings,
        output=output,
        formats=parse_formats(f"{formats},report" if report else formats),
        overwrite=overwrite,
        untrusted=untrusted,
        resume=resume,
        cluster=cluster,
        gpus_per_worker=gpus_per_worker,
    )
    with log_to(log_file, verbose=verbose):
        return reconstruct_files(request)


@app.command()
def convert(
    images: Annotated[Path, typer.Argument(help="ISMRMRD images, as recon and send write them.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder.")] = None,
    formats: Annotated[str, typer.Option("--format", help="dicom, enhanced, nifti.")] = "dicom",
    overwrite: Overwrite = False,
) -> int:
    """Turn ISMRMRD images, of Gadgetron as well, into DICOM and NIfTI."""
    from gadget.offline.convert import ConvertRequest, parse_convertible
    from gadget.offline.convert import convert as run

    return run(ConvertRequest(images, output, parse_convertible(formats), overwrite))


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder.")] = Path("jrsr-demo"),
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    overwrite: Overwrite = False,
) -> int:
    """Simulate, reconstruct, compare with CG-SENSE + bicubic, draw a picture and a report."""
    settings = settings_of(pairs, model, device)
    from gadget.offline.demo import run_demo

    for line in run_demo(output, settings, overwrite=overwrite):
        print_line(line)
    return Exit.DONE


@app.command()
def check(
    scan: Annotated[Path, typer.Argument(help="ISMRMRD file.")],
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    untrusted: Untrusted = False,
) -> int:
    """Show what is in a scan and whether and how it would be reconstructed."""
    from gadget.offline.check import check_scan

    return check_scan(scan, settings_of(pairs, model, device), untrusted=untrusted)
