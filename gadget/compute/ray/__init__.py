"""Reconstruction on the workers of a Ray cluster (extra `cluster`)."""

import os
from types import ModuleType

from gadget.errors import UsageError

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Variable by which Ray, on any system, listens on the loopback address alone if it is 0."""


def import_cluster(address: str) -> ModuleType:
    """Return the module with `ClusterEngine` and `Pool`.

    Ray reads its environment when it is imported. For a cluster of this machine alone ("local") its
    ports are those of the loopback address: anyone who reaches them may run code here.

    Raises
    ------
    UsageError
        Ray is not installed.
    """
    if address == "local":
        os.environ.setdefault(LOOPBACK, "0")
    try:
        from . import engine
    except ImportError as error:
        extra = 'pip install "gadgetron-jrsr[cluster]"'
        raise UsageError(f"--cluster needs Ray: {extra} ({error})") from None
    return engine


def check_share(cluster: str, gpus_per_worker: float | None) -> None:
    """Raise `UsageError` if a share of a GPU is given without a cluster."""
    if gpus_per_worker is not None and not cluster:
        raise UsageError(f"gpus-per-worker is {gpus_per_worker:g}, but --cluster is not given")
