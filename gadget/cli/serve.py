"""The command `jrsr serve`.

What it needs is imported when it runs, so that `jrsr --help` starts without torch.
"""

from typing import Annotated

import typer

from gadget.compute.ray import check_share
from gadget.settings import read_settings

from .options import Cluster, Device, GpusPerWorker, Host, Model, Pairs, Port, Verbose, app


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 18000,
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    max_connections: Annotated[int, typer.Option(min=1, help="Peers served at a time.")] = 16,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that unfinished scans get after SIGTERM.")
    ] = 60,
    idle_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds without data until a scan is aborted; 0: never.")
    ] = 600,
    max_memory: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="GiB for lines and images of all scans; default half of the RAM."
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="Accept only peers of this network, such as 10.1.0.0/16 (repeatable).",
        ),
    ] = None,
    peer_files: Annotated[
        bool, typer.Option("--peer-files", help="Let peers name files of this machine.")
    ] = False,
    cluster: Cluster = "",
    gpus_per_worker: GpusPerWorker = None,
    verbose: Verbose = False,
) -> int:
    """Serve Gadgetron's <connect> and MRD clients.

    The model stays in memory. With --cluster the workers of a Ray cluster compute the slices.
    """
    settings = read_settings(pairs or [], model=model, device=device)
    check_share(cluster, gpus_per_worker)
    from gadget.server.connection import ServerLimits
    from gadget.server.protocol.memory import MemoryBudget
    from gadget.server.serve import serve_until_stopped
    from gadget.server.sockets import parse_networks

    memory = MemoryBudget(int(max_memory * 2**30) if max_memory else None)
    return serve_until_stopped(
        settings,
        host,
        port,
        max_connections=max_connections,
        grace=grace,
        allow=parse_networks(allow or []),
        limits=ServerLimits(memory=memory, idle_timeout=idle_timeout, peer_files=peer_files),
        cluster=cluster,
        gpus_per_worker=gpus_per_worker,
        verbose=verbose,
    )
