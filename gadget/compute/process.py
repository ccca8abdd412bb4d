"""Settings of the whole process, made once by an entry point before torch is loaded.

Importing the packages changes nothing outside them; a program that uses them as a library keeps
its own settings. Nothing is imported here that imports torch.
"""

import ctypes
import os

from jrsr_core.common.isolation import isolate_subprocesses

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt` (malloc.h)."""

LARGEST_KEPT = 32 << 20
"""Largest `M_MMAP_THRESHOLD` that glibc accepts, in bytes; larger blocks are always returned."""

ALLOCATOR_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def prepare_process() -> None:
    """Set what subprocesses import, how threads wait, and that freed memory is kept.

    The `jrsr` command, the Gadgetron handler and the workers of a cluster call this before they
    import torch. Settings that the user has made in the environment have priority.
    """
    isolate_subprocesses()
    limit_spinning()
    keep_freed_memory()


def limit_spinning() -> None:
    """Let OpenMP threads spin for a short time, then sleep, while they wait for work.

    Threads that spin without a limit slow down a machine that runs other programs several times;
    threads that sleep at once cost a quarter of the speed on an idle machine. The OpenMP library
    reads these variables when torch is loaded.
    """
    if "OMP_WAIT_POLICY" in os.environ:
        return
    # GNU's library respects the spin count under ACTIVE only: under its default it does not spin
    # at all once two threads have computed, as they do in a server.
    os.environ["OMP_WAIT_POLICY"] = "ACTIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # LLVM's library: milliseconds; without it ACTIVE would spin for ever.
    os.environ.setdefault("KMP_BLOCKTIME", "1")


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next image instead of returning it to the system.

    Returns
    -------
    bool
        False without glibc and where the user has set the thresholds in the environment.
    """
    if any(name in os.environ for name in ALLOCATOR_VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # musl, macOS; Windows
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
