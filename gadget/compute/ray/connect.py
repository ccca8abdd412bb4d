"""The connection to a Ray cluster, and the resources that one worker takes."""

import logging
import os
import re
import signal
import socket
import threading
import warnings
from dataclasses import dataclass

import ray

from gadget.errors import UsageError, describe
from jrsr_core.common.os_errors import reason

CONNECT_SECONDS = 10.0
ADDRESSES = "local, auto, host:port or ray://host:port"


@dataclass(frozen=True)
class Share:
    """The resources of one worker: a core, or a part of a GPU."""

    device: str
    gpus: float = 0.0

    def n_workers(self, resources: dict[str, float]) -> int:
        """Return how many workers fit; Ray never splits one share over two GPUs."""
        if self.device == "cpu":
            return int(resources.get("CPU", 0))
        return int(resources.get("GPU", 0)) * int(1 / self.gpus + 1e-6)

    @property
    def options(self) -> dict[str, float]:
        """Resources as options of a Ray actor."""
        return {"num_gpus": self.gpus, "num_cpus": 0} if self.gpus else {"num_cpus": 1}


def share_of(resources: dict[str, float], address: str, device: str, gpus: float | None) -> Share:
    """Return the share of a worker: a GPU or a fraction of one if the cluster has any, else a core.

    Parameters
    ----------
    resources
        Of the whole cluster, as Ray returns them.
    device
        auto, cpu or cuda.
    gpus
        Fraction of a GPU; None for a whole one.

    Raises
    ------
    UsageError
        The cluster has no GPU although one is asked for, or neither a GPU nor a core.
    """
    n = int(resources.get("GPU", 0))
    if gpus is not None and (device == "cpu" or not n):
        reason = "device is 'cpu'" if device == "cpu" else f"the cluster at {address} has no GPU"
        raise UsageError(f"gpus-per-worker is {gpus:g}, but {reason}")
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device is {device!r}, on a cluster expected auto, cpu or cuda")
    if device == "cuda" and not n:
        raise UsageError(f"device 'cuda' asked for, the cluster at {address} has no GPU")
    share = Share("cuda", gpus or 1.0) if n and device != "cpu" else Share("cpu")
    if not share.n_workers(resources):
        raise UsageError(f"the cluster at {address} has neither a core nor a GPU")
    return share


def connect(address: str) -> dict[str, float]:
    """Connect to the cluster, unless this process is connected; return its resources.

    Raises
    ------
    UsageError
        There is no cluster at the address.
    """
    # Ray would report usage statistics to its developers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        _check_address(address)
        _join(address)
    return ray.cluster_resources()


def _check_address(address: str) -> None:
    """Raise `UsageError` if nothing listens at the address: Ray would try for two minutes."""
    if address in ("local", "auto"):
        return
    found = re.fullmatch(r"(?:ray://)?(?:\[([\da-fA-F:.]+)\]|([^\s:/\[\]]+)):(\d{1,5})", address)
    if found is None:
        raise UsageError(f"no cluster at {address}: expected {ADDRESSES}")
    try:
        where = (found[1] or found[2], int(found[3]))
        socket.create_connection(where, CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"no cluster at {address}: {reason(error)}") from None


def _join(address: str) -> None:
    options = {"include_dashboard": False} if address == "local" else {}
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        raise UsageError(f"no cluster at {address}: {describe(error)}") from None
    finally:
        # Ray installs its own handler, which ends the process.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)
