"""Which lines of a scan count: those of all receive channels, each once."""

import numpy as np

from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.header import ScanHeader
from jrsr_core.mrd.lines import LINE_COUNTERS

COPIES = "every line is in the scan several times, with equal samples: copies are left out"


def line_numbers(heads: np.ndarray) -> np.ndarray:
    """Return a number per line, from 0, that lines of equal counters have in common."""
    fields = [heads["encoding_space_ref"], *(heads["idx"][name] for name in LINE_COUNTERS)]
    table = np.stack(fields, axis=-1)
    order = np.lexsort(table.T)
    is_new = (np.diff(table[order].astype(np.int64), axis=0) != 0).any(1)
    numbers = np.empty(len(heads), np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(is_new)])
    return numbers


def without_copies(heads: np.ndarray, lines: np.ndarray, rejected: dict[str, int]) -> np.ndarray:
    """Return the first line of each set of counters."""
    _, first = np.unique(line_numbers(heads[lines]), return_index=True)
    rejected["copies of other lines"] = len(lines) - len(first)
    return lines[np.sort(first)]


def of_the_receiver(
    header: ScanHeader, heads: np.ndarray, lines: np.ndarray, rejected: dict[str, int]
) -> tuple[np.ndarray, int, list[str]]:
    """Return the lines that have all receive channels, the number of these, and notes.

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
        return lines, counts[0], []
    if header.n_coils in counts and header.n_coils:
        kept = channels == header.n_coils
        n_other = int((~kept).sum())
        rejected[f"with other than the {header.n_coils} receiver channels"] = n_other
        note = (
            f"{n_other} of {len(lines)} lines are left out: they have other than the "
            f"{header.n_coils} receiverChannels of the header"
        )
        return lines[kept], header.n_coils, [note]
    stated = "names no receiverChannels" if header.n_coils is None else f"has {header.n_coils}"
    raise UnsupportedScan(
        f"mixed coil counts: {', '.join(map(str, counts))} channels, the header {stated}"
    )
