"""`jrsr stream`.

What a command needs is imported when it runs, so that `jrsr --help` starts without torch.
"""

import logging
from typing import Annotated

import typer

from gadget.settings import read_settings

from .options import Device, Model, Overwrite, Pairs, Verbose, app


@app.command()
def stream(
    source: Annotated[
        str, typer.Option("-i", "--input", metavar="PIPE", help="Pipe or file; -: stdin.")
    ] = "-",
    target: Annotated[
        str, typer.Option("-o", "--output", metavar="PIPE", help="Pipe or file; -: stdout.")
    ] = "-",
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> int:
    """Reconstruct a scan that comes as a stream (ISMRMRD v1 or MRD v2) into a stream of images.

    \b
    ismrmrd_hdf5_to_stream -i scan.h5 --use-stdout | jrsr stream | ...
    jrsr stream -i scan.mrd -o images.mrd --set maps=hallucination
    """  # noqa: D301
    # A stream is complete when it ends, whatever its flags say; as of a file, all lines are used.
    settings = read_settings(["trigger=measurement", *(pairs or [])], model=model, device=device)
    from gadget.stream.run import reconstruct_stream

    log = logging.getLogger("jrsr")
    before = log.level
    log.setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        return reconstruct_stream(settings, source, target, overwrite=overwrite)
    finally:
        log.setLevel(before)
