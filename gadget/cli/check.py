"""The command `jrsr check`.

What it needs is imported when it runs, so that `jrsr --help` starts without torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from gadget.settings import read_settings

from .options import AsJson, Dataset, Device, Model, Pairs, Untrusted, app


@app.command()
def check(
    inputs: Annotated[list[Path], typer.Argument(help="ISMRMRD files, or folders of them.")],
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    untrusted: Untrusted = False,
    dataset: Dataset = "",
    as_json: AsJson = False,
) -> int:
    """Print what scans contain and how they would be reconstructed.

    Nothing is reconstructed. Exit code: 0 supported, 1 broken, 2 unsupported.
    """
    from gadget.offline.check import check_scans
    from gadget.offline.scans import find_scans

    settings = read_settings(pairs or [], model=model, device=device)
    return check_scans(
        find_scans(inputs, untrusted=untrusted), settings, dataset=dataset, as_json=as_json
    )
