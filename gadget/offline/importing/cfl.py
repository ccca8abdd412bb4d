"""Reads arrays of BART: `NAME.hdr` (sizes) and `NAME.cfl` (complex64, the first axis fastest).

Source: BART, `doc/` and `src/misc/mri.h` (mrirecon/bart): the order of the 16 axes.
"""

from pathlib import Path

import numpy as np

from gadget.errors import UsageError
from jrsr_core.mrd.errors import BadScan

from .array_scan import REQUIRED, STATEMENTS, array_scan
from .scan import ImportedScan, Stated

AXES = {
    0: "x",
    1: "y",
    2: "z",
    3: "coil",
    5: "contrast",
    10: "repetition",
    11: "phase",
    13: "slice",
    14: "average",
}
"""Axes of BART (READ, PHS1, PHS2, COIL, TE, TIME, TIME2, SLICE, AVG) and their names here."""

MAX_HEADER = 2**16
MAX_AXES = 32


def read_cfl(path: Path, stated: Stated) -> ImportedScan:
    """Read a pair of files, of which either one is named.

    Raises
    ------
    UsageError
        Statements that are missing; an axis without a name here that has several elements.
    FileNotFoundError
        One of the two files is missing.
    BadScan
        A broken header, or a file of another size than it says.
    """
    stated.check_used("a BART array", STATEMENTS)
    stated.require("a BART array", tuple(name for name in REQUIRED if name != "axes"))
    base = path.with_suffix("") if path.suffix in (".cfl", ".hdr") else path
    header, data = base.with_suffix(base.suffix + ".hdr"), base.with_suffix(base.suffix + ".cfl")
    for file in (header, data):
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file, BART writes .cfl and .hdr together")
    shape = _sizes(header)
    n_bytes = 8
    for n in shape:
        n_bytes *= n
    if n_bytes != data.stat().st_size:
        found = data.stat().st_size
        raise BadScan(f"{data.name} has {found} bytes, {header.name} says {n_bytes}")
    array: np.ndarray = np.memmap(data, np.complex64, "r", shape=shape, order="F")
    if stated.axes:
        while array.ndim > len(stated.axes) and array.shape[-1] == 1:
            array = array[..., 0]
        return array_scan(array, stated.axes, stated)
    axes = []
    for i, n in enumerate(shape):
        if n > 1 and i not in AXES:
            raise UsageError(f"axis {i} of BART has {n} elements, name the axes with --axes")
        if n > 1 or i in (0, 1):
            axes.append(AXES[i])
    kept = array.reshape([n for i, n in enumerate(shape) if n > 1 or i in (0, 1)], order="F")
    return array_scan(kept, axes, stated)


def _sizes(header: Path) -> tuple[int, ...]:
    """Return the sizes of all axes, the first one fastest."""
    with header.open("rb") as file:
        lines = file.read(MAX_HEADER).decode("ascii", "replace").splitlines()
    try:
        sizes = tuple(map(int, lines[lines.index("# Dimensions") + 1].split()))
    except (ValueError, IndexError):
        raise BadScan(f"{header.name} has no line '# Dimensions' with sizes after it") from None
    if not 2 <= len(sizes) <= MAX_AXES or min(sizes) < 1:
        raise BadScan(f"{header.name} states the sizes {sizes}, expected 2 to {MAX_AXES} above 0")
    return sizes
