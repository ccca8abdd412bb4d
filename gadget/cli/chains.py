"""The command `jrsr chains`."""

from pathlib import Path
from typing import Annotated

import typer

from gadget.chains import chain_files, purpose, write_chains
from gadget.console import print_line
from gadget.errors import Exit

from .options import Overwrite, app


@app.command()
def chains(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder to write to; without one, list the chains.")
    ] = None,
    overwrite: Overwrite = False,
) -> int:
    """Write the chain files of Gadgetron to a folder.

    \b
    jrsr chains                                list the chains
    jrsr chains $GADGETRON_HOME/share/gadgetron/config
    """  # noqa: D301
    if folder is not None:
        for path in write_chains(folder, overwrite=overwrite):
            print_line(str(path))
        return Exit.DONE
    for file in chain_files():
        print_line(f"{file.name}: {purpose(file.read_text(encoding='utf-8'))}")
    return Exit.DONE
