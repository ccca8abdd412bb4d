"""The command `jrsr doctor`."""

from typing import Annotated

import typer

from gadget.console import print_json, print_line
from gadget.errors import Exit
from gadget.settings import read_settings

from .options import AsJson, Device, Model, Pairs, app


@app.command()
def doctor(
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    storage: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Gadgetron's storage server; default GADGETRON_STORAGE_ADDRESS."
        ),
    ] = "",
    as_json: AsJson = False,
) -> int:
    """Check the set-up: versions, chains, storage server, device, model, a scan over a socket.

    To be run by the Python that Gadgetron runs: python -m gadget doctor. Exit code: 0 if the
    set-up works, 1 if not.
    """
    from gadget.doctor import examine

    settings = read_settings(pairs or [], model=model, device=device)
    found = []
    for finding in examine(settings, storage):
        found.append(finding)
        if not as_json:
            print_line(f"{finding.mark:<7} {finding.name:<10} {finding.text}")
    is_good = all(finding.is_good for finding in found)
    if as_json:
        print_json({"works": is_good, "checks": [vars(finding) for finding in found]})
    return Exit.DONE if is_good else Exit.FAILED
