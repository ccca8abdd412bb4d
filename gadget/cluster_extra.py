"""The cluster where its extra is installed, and one line where it is not."""

import os
from pathlib import Path
from types import ModuleType

from .errors import UsageError


def import_cluster() -> ModuleType:
    """Return the module `cluster`.

    Raises
    ------
    UsageError
        Ray is not installed.
    """
    _use_token()
    try:
        from . import cluster
    except ImportError as error:
        extra = 'pip install "gadgetron-jrsr[cluster]"'
        raise UsageError(f"--cluster needs Ray: {extra} ({error})") from None
    return cluster


def _use_token() -> None:
    """Show clusters the token of this user, where there is one: ray:// does not by itself.

    Ray looks at the variable when it is imported.
    """
    if (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def check_share(cluster: str, gpus_per_worker: float | None) -> None:
    """Refuse a share of nothing.

    Raises
    ------
    UsageError
        No cluster is named.
    """
    if gpus_per_worker is not None and not cluster:
        raise UsageError(f"gpus-per-worker is {gpus_per_worker:g}, but --cluster is not given")
