"""The command `jrsr send`.

What it needs is imported when it runs, so that `jrsr --help` starts without torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from gadget.output.names import check_extension
from gadget.settings import split_pairs

from .options import Dataset, Host, Overwrite, Pairs, Port, app


@app.command()
def send(
    scan: Annotated[Path, typer.Argument(help="ISMRMRD file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File for the images.")],
    host: Host = "127.0.0.1",
    port: Port = 18000,
    chain: Annotated[Path | None, typer.Option(help="Chain file to send to the server.")] = None,
    config: Annotated[str, typer.Option(help="Name of a configuration on the server.")] = "jrsr",
    pairs: Pairs = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for an answer.")] = 600,
    overwrite: Overwrite = False,
    dataset: Dataset = "",
) -> int:
    """Send a scan to a Gadgetron or MRD server and write its images."""
    from gadget.server.client import SendRequest, send_scan

    check_extension(output, "mrd", "send")
    parameters = split_pairs(pairs or [])
    request = SendRequest(
        scan,
        output,
        host,
        port,
        chain,
        config,
        parameters,
        timeout,
        overwrite=overwrite,
        dataset=dataset,
    )
    return send_scan(request)
