"""Reaching a Ray cluster, and what of it a worker takes."""

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

CONNECT_SECONDS = 10.0
KINDS = "local, auto, host:port or ray://host:port"


@dataclass(frozen=True)
class Share:
    """What one worker takes: a core, or a part of a GPU."""

    device: str
    gpus: float = 0.0

    def n_workers(self, resources: dict[str, float]) -> int:
        """How many fit; Ray never splits one share over two GPUs."""
        if self.device == "cpu":
            return int(resources.get("CPU", 0))
        return int(resources.get("GPU", 0)) * int(1 / self.gpus + 1e-6)

    @property
    def options(self) -> dict[str, float]:
        """Return it in Ray's words."""
        return {"num_gpus": self.gpus, "num_cpus": 0} if self.gpus else {"num_cpus": 1}


def share_of(resources: dict[str, float], address: str, device: str, gpus: float | None) -> Share:
    """Return what a worker takes: a GPU, or `gpus` of one, where there are any and `device` allows.

    Raises
    ------
    UsageError
        A GPU is asked for and there is none; nothing to compute on.
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
    """Join the cluster; return its resources.

    Raises
    ------
    UsageError
        No cluster there.
    """
    # Nothing is reported to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        _check_address(address)
        _join(address)
    return ray.cluster_resources()


def _check_address(address: str) -> None:
    """Refuse an address where nobody listens: Ray would try for two minutes."""
    if address in ("local", "auto"):
        return
    found = re.fullmatch(r"(?:ray://)?(?:\[([\da-fA-F:.]+)\]|([^\s:/\[\]]+)):(\d{1,5})", address)
    if found is None:
        raise UsageError(f"no cluster at {address}: expected {KINDS}")
    try:
        where = (found[1] or found[2], int(found[3]))
        socket.create_connection(where, CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"no cluster at {address}: {reason}") from None


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
        # Ray puts a handler of its own there, which ends the process.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)
