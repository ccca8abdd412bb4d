"""The command `jrsr convert`.

What it needs is imported when it runs, so that `jrsr --help` starts without torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from .options import Overwrite, app


@app.command()
def convert(
    images: Annotated[Path, typer.Argument(help="ISMRMRD images, as written by recon and send.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder.")] = None,
    formats: Annotated[str, typer.Option("--format", help="dicom, enhanced, nifti.")] = "dicom",
    overwrite: Overwrite = False,
) -> int:
    """Convert ISMRMRD images, also of Gadgetron, to DICOM or NIfTI."""
    from gadget.offline.convert import convert_images, parse_convertible

    return convert_images(images, output, parse_convertible(formats), overwrite=overwrite)
