"""The cluster where its extra is installed, and one line where it is not."""

from types import ModuleType

from gadget.errors import UsageError


def import_cluster() -> ModuleType:
    """Return the module `cluster`.

    Raises
    ------
    UsageError
        Ray is not installed.
    """
    try:
        from . import engine as cluster
    except ImportError as error:
        extra = 'pip install "gadgetron-jrsr[cluster]"'
        raise UsageError(f"--cluster needs Ray: {extra} ({error})") from None
    return cluster


def check_share(cluster: str, gpus_per_worker: float | None) -> None:
    """Refuse a share of nothing.

    Raises
    ------
    UsageError
        No cluster is named.
    """
    if gpus_per_worker is not None and not cluster:
        raise UsageError(f"gpus-per-worker is {gpus_per_worker:g}, but --cluster is not given")
