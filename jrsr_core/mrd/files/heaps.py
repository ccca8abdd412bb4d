"""Checks the heaps of an HDF5 file, which hold the values without a fixed length.

HDF5 walks a heap object by object and trusts their sizes: a broken one ends in a crash or never
ends. Each heap is walked here before HDF5 is asked for a value in it. Source: HDF5 File Format
Specification 3.0, section III.E (Global Heap).
"""

import os
import struct

import h5py
import numpy as np

from jrsr_core.mrd.errors import BadScan

HEAP, OBJECT = struct.Struct("<4s4xQ"), struct.Struct("<H6xQ")
MAX_OBJECTS = 2**16
"""Objects in one heap: their index has 16 bits."""

REMEMBERED = 2**16
"""Heaps remembered as checked."""


class Heaps:
    """The heaps of one file.

    Raises
    ------
    BadScan
        The file has addresses of another length than 8 bytes.
    """

    def __init__(self, file: h5py.File) -> None:
        sizes = file.id.get_create_plist().get_sizes()
        if sizes != (8, 8):
            raise BadScan(f"addresses and sizes of {sizes} bytes, only those of 8 are read")
        self._path = file.filename
        self._base = file.userblock_size
        self._checked: set[int] = set()

    def check(self, addresses: np.ndarray) -> None:
        """Raise `BadScan` unless HDF5 can walk the heaps at these addresses; 0 is none."""
        asked = np.unique(addresses[addresses != 0]).tolist()
        new = [address for address in asked if address not in self._checked]
        if not new:
            return
        with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123
            n_bytes = os.fstat(file.fileno()).st_size
            for address in new:
                _walk(file.fileno(), self._base + address, n_bytes)
        if len(self._checked) > REMEMBERED:
            self._checked.clear()
        self._checked.update(new)


def _walk(file: int, start: int, n_bytes: int) -> None:
    if start >= 2**63:
        raise _broken(start)
    signature, size = _unpacked(HEAP, file, start)
    end = start + size
    if signature != b"GCOL" or end > n_bytes:
        raise _broken(start)
    at = start + HEAP.size
    for _ in range(MAX_OBJECTS):
        if at + OBJECT.size > end:
            return
        index, size = _unpacked(OBJECT, file, at)
        step = OBJECT.size + (size + 7) // 8 * 8 if index else size
        if not 0 < step <= end - at:
            raise _broken(start)
        at += step
    raise _broken(start)


def _unpacked(layout: struct.Struct, file: int, at: int) -> tuple:
    raw = os.pread(file, layout.size, at)
    if len(raw) < layout.size:
        raise _broken(at)
    return layout.unpack(raw)


def _broken(at: int) -> BadScan:
    return BadScan(f"the heap at byte {at} is broken, the file may be cut off")
