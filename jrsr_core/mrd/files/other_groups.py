"""What other groups of the file of a scan hold; imports no torch."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.lines.acquired import NOISE, has_flag

from .sandbox import SandboxedScan
from .scan import ScanFile

OpenScan = ScanFile | SandboxedScan
"""A scan that is read here, or in a sandboxed subprocess."""

MAX_NAMED = 5
"""Groups that are named; each has to be opened, which takes its time."""


@contextmanager
def noise_scan(scan: OpenScan, n_coils: int) -> Iterator[OpenScan | None]:
    """Open the noise scan that another group of the file holds; None where there is none.

    It is the first group of nothing but noise lines of as many channels.

    Raises
    ------
    BadScan
        A group before it cannot be read; it is named.
    """
    for name in _other_groups(scan):
        with _opened(scan, name) as other:
            is_noise = has_flag(other.heads, NOISE) & (other.heads["active_channels"] == n_coils)
            if len(is_noise) and is_noise.all():
                yield other
                return
    yield None


def other_scans_note(scan: OpenScan) -> str:
    """Return a sentence on the other groups that hold scans, empty if there are none.

    A group of noise lines alone is none, and neither is one that cannot be read.
    """
    found: list[str] = []
    for name in _other_groups(scan):
        if len(found) == MAX_NAMED:
            found.append("...")
            break
        with suppress(BadScan), scan.other(name) as other:
            if not has_flag(other.heads, NOISE).all():
                found.append(name)
    others = ", ".join(found)
    return f"group {scan.dataset} is read, further scans (--dataset): {others}" if found else ""


def _opened(scan: OpenScan, name: str) -> OpenScan:
    try:
        return scan.other(name)
    except BadScan as error:
        raise BadScan(f"group {name}: {error}") from None


def _other_groups(scan: OpenScan) -> list[str]:
    return [name for name in scan.datasets if name != scan.dataset]
