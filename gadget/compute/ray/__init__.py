"""Reconstruction on the workers of a Ray cluster (extra `cluster`)."""

from types import ModuleType

from gadget.errors import UsageError


def import_cluster() -> ModuleType:
    """Return the module with `ClusterEngine` and `Pool`.

    Raises
    ------
    UsageError
        Ray is not installed.
    """
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
