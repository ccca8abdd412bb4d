"""The memory that an import needs, compared with that of the machine before anything is read."""

from jrsr_core.common.machine import physical_memory
from jrsr_core.mrd.errors import UnsupportedScan

COPIES = 3
"""Copies of the samples at the peak: those read, and the file that grows in memory."""


def check_memory(n_bytes: int) -> None:
    """Raise `UnsupportedScan` if samples of this size and their copies exceed half the memory."""
    limit = physical_memory() // 2
    if COPIES * n_bytes > limit:
        needed, may = (f"{n / 2**20:.0f} MiB" for n in (COPIES * n_bytes, limit))
        raise UnsupportedScan(f"the import needs about {needed} of memory, {may} may be used")
