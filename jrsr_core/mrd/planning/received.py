"""Which lines of a scan count: those of all receive channels, each once."""

import numpy as np

from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.acquired import LINE_COUNTERS, calibrates, only_calibrates
from jrsr_core.mrd.lines.distinct import DistinctRows, distinct_rows

COPIES = "every line is in the scan several times, with equal samples: copies are left out"


def distinct_lines(heads: np.ndarray) -> DistinctRows:
    """Return the distinct counters of lines, and which of them each line has.

    Lines of a reference scan may have the counters of image lines; they are others.
    """
    roles = (calibrates(heads), only_calibrates(heads))
    counters = (heads["idx"][name] for name in LINE_COUNTERS)
    return distinct_rows([heads["encoding_space_ref"], *roles, *counters])


def without_copies(heads: np.ndarray, lines: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Return the first line of each set of counters, and the number of others by reason."""
    first = distinct_lines(heads[lines]).first
    return lines[np.sort(first)], {"copies of other lines": len(lines) - len(first)}


def of_the_receiver(
    header: ScanHeader, heads: np.ndarray, lines: np.ndarray
) -> tuple[np.ndarray, int, dict[str, int], list[str]]:
    """Return the lines that have all receive channels and the number of these channels.

    The number of other lines by reason, and notes on them, follow.

    Raises
    ------
    UnsupportedScan
        Lines of several numbers of channels, none of which is that of the header.
    BadScan
        Lines without channels.
    """
    channels = heads["active_channels"][lines]
    counts = np.unique(channels).tolist()
    if len(counts) == 1:
        if counts[0] == 0:
            raise BadScan("lines without coils: active_channels is 0")
        return lines, counts[0], {}, []
    if header.n_coils in counts and header.n_coils:
        kept = channels == header.n_coils
        n_other = int((~kept).sum())
        rejected = {f"with other than the {header.n_coils} receiver channels": n_other}
        note = (
            f"{n_other} of {len(lines)} lines are left out: they have other than the "
            f"{header.n_coils} receiverChannels of the header"
        )
        return lines[kept], header.n_coils, rejected, [note]
    stated = "names no receiverChannels" if header.n_coils is None else f"has {header.n_coils}"
    raise UnsupportedScan(
        f"mixed coil counts: {', '.join(map(str, counts))} channels, the header {stated}"
    )
