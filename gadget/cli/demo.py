"""The command `jrsr demo`.

What it needs is imported when it runs, so that `jrsr --help` starts without torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from gadget.settings import read_settings

from .options import Device, Model, Overwrite, Pairs, app


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder.")] = Path("jrsr-demo"),
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    overwrite: Overwrite = False,
) -> int:
    """Simulate and reconstruct a scan.

    A table, a picture and a report compare the images with CG-SENSE + bicubic interpolation.
    """
    settings = read_settings(pairs or [], model=model, device=device)
    from gadget.offline.demo import run_demo

    return run_demo(output, settings, overwrite=overwrite)
