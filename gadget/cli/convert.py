"""The command `jrsr convert`.

What it needs is imported when it runs, so that `jrsr --help` starts without torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from .options import Overwrite, Untrusted, app


@app.command()
def convert(
    images: Annotated[Path, typer.Argument(help="ISMRMRD images, as written by recon and send.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder.")] = None,
    formats: Annotated[str, typer.Option("--format", help="dicom, enhanced, nifti.")] = "dicom",
    overwrite: Overwrite = False,
    untrusted: Untrusted = False,
) -> int:
    """Convert ISMRMRD images, also of Gadgetron, to DICOM or NIfTI."""
    from gadget.offline.convert import convert_images, parse_convertible
    from jrsr_core.mrd.files.sandbox import Sandbox

    chosen = parse_convertible(formats)
    with Sandbox() as sandbox:
        place = sandbox if untrusted else None
        return convert_images(images, output, chosen, overwrite=overwrite, sandbox=place)
