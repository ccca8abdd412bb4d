"""`jrsr serve`: the resident server as a command."""

import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from gadget.compute.engine import Engine
from gadget.compute.model import check_model, make_engine
from gadget.compute.ray import import_cluster
from gadget.console import is_quiet
from gadget.errors import Exit
from gadget.plain_text import PlainFormatter
from gadget.settings import Settings
from jrsr_core.data import KSpaceSlice, SliceGeometry
from jrsr_core.reconstruction.load import pick_device

from .server import Server

log = logging.getLogger("jrsr")


def serve_until_stopped(
    settings: Settings,
    host: str,
    port: int,
    *,
    cluster: str = "",
    gpus_per_worker: float | None = None,
    verbose: bool = False,
    **options: Any,
) -> Exit:
    """Load the model, listen and serve until SIGTERM or Ctrl-C.

    Running scans may finish then; a second signal ends them.

    Parameters
    ----------
    cluster
        Address of a Ray cluster whose workers compute; empty for this machine.
    gpus_per_worker
        As in `Pool`.
    options
        As in `Server`.

    Raises
    ------
    UsageError
        The model, the cluster or the address cannot be used.
    """
    level = logging.DEBUG if verbose else logging.WARNING if is_quiet() else logging.INFO
    with _log_of_server(level), _engines(settings, cluster, gpus_per_worker) as (settings, make):
        server = Server(settings, make, host=host, port=port, **options)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        warm_up(server.engines.get(settings))
        for address, bound in server.addresses:
            log.info("listening on %s port %d", address, bound)
        server.run()
    return Exit.DONE


@contextmanager
def _log_of_server(level: int) -> Iterator[None]:
    """Write records to stderr with time and thread, instead of whatever handles them otherwise."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s [%(threadName)s] %(message)s"))
    root = logging.getLogger()
    before = root.level, root.handlers
    root.setLevel(level)
    root.handlers = [handler]
    try:
        yield
    finally:
        root.setLevel(before[0])
        root.handlers = before[1]


@contextmanager
def _engines(
    settings: Settings, cluster: str, gpus_per_worker: float | None
) -> Iterator[tuple[Settings, Callable[[Settings], Engine]]]:
    """Yield the settings with the devices there are, and a function that makes engines.

    The engines are those of this machine, or of one pool of a cluster.
    """
    if not cluster:
        if settings.device == "auto":
            settings = settings.override({"device": pick_device("auto").type})
        yield settings, make_engine
        return
    module = import_cluster(cluster)
    check_model(settings)
    with module.Pool(cluster, device=settings.device, gpus_per_worker=gpus_per_worker) as pool:
        settings = settings.override({"device": pool.share.device})
        yield settings, partial(module.ClusterEngine, pool=pool, is_resident=True)


def warm_up(engine: Engine) -> None:
    """Compute one small slice, so that libraries are loaded and set up before the first scan."""
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    kspace = torch.randn((4, 32, 32), dtype=torch.complex64, generator=generator)
    geometry = SliceGeometry.axial((5.0, 200.0, 200.0))
    slice_ = KSpaceSlice(kspace, torch.ones(32, 32), kspace[:, 4:28, 4:28], geometry)
    (outcome,) = engine.run([slice_])
    if isinstance(outcome, Exception):
        raise outcome
    seconds = time.perf_counter() - start
    log.info("%s on %s, warm after %.1f s", engine.model.name, engine.place, seconds)
