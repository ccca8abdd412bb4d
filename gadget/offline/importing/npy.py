"""Reads NumPy's `.npy` files."""

from pathlib import Path

import numpy as np

from jrsr_core.mrd.errors import BadScan

from .array_scan import REQUIRED, STATEMENTS, array_scan
from .scan import ImportedScan, Stated


def read_npy(path: Path, stated: Stated) -> ImportedScan:
    """Read a `.npy` file; its samples stay on disk until they are written.

    Raises
    ------
    UsageError
        Statements that are missing, or do not fit the array.
    BadScan
        A broken file, or one with Python objects.
    """
    stated.check_used("a NumPy array", STATEMENTS)
    stated.require("a NumPy array", REQUIRED)
    # The header is a Python expression: NumPy raises nearly anything on broken ones.
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:
        raise BadScan(f"NumPy cannot read it ({' '.join(str(error).split())})") from None
    return array_scan(array, stated.axes or (), stated)
