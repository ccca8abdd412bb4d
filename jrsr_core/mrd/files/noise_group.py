"""The noise scan that another group of the file of a scan holds; imports no torch."""

from collections.abc import Iterator
from contextlib import contextmanager

from jrsr_core.mrd.lines import NOISE, has_flag

from .sandbox import SandboxedScan
from .scan import ScanFile


@contextmanager
def noise_scan(
    scan: ScanFile | SandboxedScan, n_coils: int
) -> Iterator[ScanFile | SandboxedScan | None]:
    """Open the noise scan that another group of the file holds; None where there is none.

    It is the first group of nothing but noise lines of as many channels.
    """
    for name in scan.datasets:
        if name == scan.dataset:
            continue
        with scan.other(name) as other:
            is_noise = has_flag(other.heads, NOISE) & (other.heads["active_channels"] == n_coils)
            if len(is_noise) and is_noise.all():
                yield other
                return
    yield None
