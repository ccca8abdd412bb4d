"""Commands of the resident server and its clients: serve, send, health."""

from pathlib import Path
from typing import Annotated

import typer

from gadget.compute.ray.available import check_share
from gadget.console import print_line
from gadget.errors import Exit
from gadget.settings import split_pairs

from .options import (
    Cluster,
    Device,
    GpusPerWorker,
    Host,
    Model,
    Overwrite,
    Pairs,
    Port,
    Verbose,
    app,
    settings_of,
)


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 18000,
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    max_connections: Annotated[int, typer.Option(min=1, help="Served at once.")] = 16,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds for scans going on, on SIGTERM.")
    ] = 60,
    idle_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds of silence before a scan is given up; 0: never.")
    ] = 0,
    max_memory: Annotated[
        float | None, typer.Option(min=0.001, help="GiB for lines of all scans; half of the RAM.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="NETWORK", help="Only from there: 10.1.0.0/16.")
    ] = None,
    peer_files: Annotated[
        bool, typer.Option("--peer-files", help="Peers may name files of this machine.")
    ] = False,
    cluster: Cluster = "",
    gpus_per_worker: GpusPerWorker = None,
    verbose: Verbose = False,
) -> int:
    """Serve Gadgetron's <connect> and MRD clients with one model in memory.

    With --cluster the slices are computed by the workers of a Ray cluster.
    """
    settings = settings_of(pairs, model, device)
    check_share(cluster, gpus_per_worker)
    from gadget.server.connection import Terms, parse_networks
    from gadget.server.protocol.inbox import Memory
    from gadget.server.serve import serve_until_stopped

    memory = Memory(max_memory and int(max_memory * 2**30))
    return serve_until_stopped(
        settings,
        host,
        port,
        max_connections=max_connections,
        grace=grace,
        allow=parse_networks(allow or []),
        terms=Terms(memory=memory, idle_timeout=idle_timeout, peer_files=peer_files),
        cluster=cluster,
        gpus_per_worker=gpus_per_worker,
        verbose=verbose,
    )


@app.command()
def send(
    scan: Annotated[Path, typer.Argument(help="ISMRMRD file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File for the images.")],
    host: Host = "127.0.0.1",
    port: Port = 18000,
    chain: Annotated[Path | None, typer.Option(help="Chain file, sent to the server.")] = None,
    config: Annotated[str, typer.Option(help="Name of a configuration of the server.")] = "jrsr",
    pairs: Pairs = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds without an answer.")] = 600,
    overwrite: Overwrite = False,
) -> int:
    """Send a scan to a Gadgetron or MRD server and keep the images it returns."""
    from gadget.server.client import SendRequest, send_scan

    parameters = split_pairs(pairs or [])
    request = SendRequest(
        scan, output, host, port, chain, config, parameters, timeout, overwrite=overwrite
    )
    return send_scan(request)


@app.command()
def health(host: Host = "127.0.0.1", port: Port = 18000) -> int:
    """Ask a resident server how it is; exit code 1 if it does not answer."""
    from gadget.server.client import ask_health

    print_line(ask_health(host, port))
    return Exit.DONE
