"""Options that several commands of `jrsr-train` have."""

from pathlib import Path
from typing import Annotated

import typer

from .errors import as_usage

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
ProtocolName = Annotated[str, typer.Option(help="brain-5x or wall-16x.")]
Data = Annotated[
    Path, typer.Option(help="HDF5 file with a data set 'slices', or a folder of such files.")
]
Slices = Annotated[
    int | None, typer.Option(min=1, help="Number of slices, spread over the data; default all.")
]


def check_protocol(name: str) -> None:
    """Raise `UsageError` for an unknown protocol."""
    # Deferred: the help of the commands needs no torch.
    from jrsr_core.simulation.protocols import find_protocol

    with as_usage():
        find_protocol(name)
