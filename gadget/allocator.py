"""Freed memory is kept for the next image.

By its defaults glibc gives blocks of megabytes back to the system when they are freed and asks for
them again a millisecond later: 3 000 to 30 000 page faults for one slice of `jrsr-dc` (compact),
7 % of its time. The process keeps what its largest image has needed.
"""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_KEPT = 32 << 20  # the most glibc allows; larger blocks come from the system as before
SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Return whether it is kept: glibc alone has the switch, and a user's own setting stays."""
    if any(name in os.environ for name in SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # musl, macOS; Windows
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
