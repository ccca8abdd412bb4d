"""The command `jrsr check`.

What it needs is imported when it runs, so that `jrsr --help` starts without torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from gadget.settings import read_settings

from .options import Dataset, Device, Model, Pairs, Untrusted, app


@app.command()
def check(
    scan: Annotated[Path, typer.Argument(help="ISMRMRD file.")],
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    untrusted: Untrusted = False,
    dataset: Dataset = "",
) -> int:
    """Print what a scan contains and how it would be reconstructed.

    Nothing is reconstructed. Exit code: 0 supported, 1 broken, 2 unsupported.
    """
    from gadget.offline.check import check_scan

    settings = read_settings(pairs or [], model=model, device=device)
    return check_scan(scan, settings, untrusted=untrusted, dataset=dataset)
