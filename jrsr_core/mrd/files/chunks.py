"""Reads the rows of an HDF5 data set as the bytes that are stored, within limits.

HDF5 itself would allocate every length that a row contains before it looks further; here the
lengths are read, and no list is followed. Filters are undone without HDF5: deflate, shuffle and
checksum, which are those of the ISMRMRD libraries.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product, repeat

import h5py
import numpy as np

from jrsr_core.mrd.errors import BadScan

DEFLATE, SHUFFLE, CHECKSUM = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, 3


@dataclass(frozen=True)
class FileLimits:
    """Largest sizes accepted in a file.

    `lines` counts acquisitions or waveforms, `line` and `chunk` are bytes of one line and of one
    stored chunk of rows (samples not included), `header` bytes of XML or of the
    attributes of an image, `members` counts the objects of a group.
    """

    lines: int = 2**20
    line: int = 2**26
    chunk: int = 2**28
    header: int = 2**24
    members: int = 4096


def stored_rows(data: h5py.Dataset, row: np.dtype, limits: FileLimits) -> Iterator[np.ndarray]:
    """Yield the rows of a data set as they are stored, some at a time, none of them empty.

    Raises
    ------
    BadScan
        Chunks that are too large, were never written, are cut off or cannot be decoded.
    """
    if data.chunks is None:
        yield from _contiguous(data, row, limits)
        return
    per_chunk = data.chunks[0]
    n_bytes = per_chunk * row.itemsize
    _check_chunk(data, n_bytes, limits)
    filters = data.id.get_create_plist()
    pipeline = [filters.get_filter(i) for i in range(filters.get_nfilters())]
    for start in range(0, len(data), per_chunk):
        _check_written(data, (start,), limits)
        mask, raw = data.id.read_direct_chunk((start,))
        raw = _decoded(raw, pipeline, mask, n_bytes, data.name)
        if len(raw) != n_bytes:
            raise BadScan(f"{data.name}: a chunk of {len(raw)} bytes, expected {n_bytes}")
        yield np.frombuffer(raw, row)[: len(data) - start]


def check_chunks(data: h5py.Dataset, limits: FileLimits) -> None:
    """Raise `BadScan` where numbers, of any shape, lie in chunks too large, or lie nowhere."""
    if data.chunks is None:
        _offset(data)
        return
    _check_chunk(data, math.prod(data.chunks) * data.dtype.itemsize, limits)
    for start in product(*map(range, repeat(0), data.shape, data.chunks)):
        _check_written(data, start, limits)


def _check_written(data: h5py.Dataset, start: tuple[int, ...], limits: FileLimits) -> None:
    info = data.id.get_chunk_info_by_coord(start)
    if info.byte_offset is None:
        raise BadScan(f"{data.name}: rows from {start[0]} on were never written")
    _check_chunk(data, info.size, limits)


def _check_chunk(data: h5py.Dataset, n_bytes: int, limits: FileLimits) -> None:
    if n_bytes > limits.chunk:
        raise BadScan(f"{data.name}: chunks of {n_bytes} bytes, at most {limits.chunk}")


def _offset(data: h5py.Dataset) -> int:
    """Return where contiguous values begin in the file; 0 where there are none."""
    offset = data.id.get_offset()
    if data.size and offset is None:
        raise BadScan(f"{data.name}: never written, or stored within its own description")
    return offset or 0


def _contiguous(data: h5py.Dataset, row: np.dtype, limits: FileLimits) -> Iterator[np.ndarray]:
    n_rows, offset = data.size, _offset(data)
    at_once = max(1, min(limits.chunk, 2**22) // row.itemsize)
    with open(data.file.filename, "rb") as file:  # noqa: PTH123
        file.seek(offset)
        for start in range(0, n_rows, at_once):
            n_bytes = min(at_once, n_rows - start) * row.itemsize
            raw = file.read(n_bytes)
            if len(raw) < n_bytes:
                raise BadScan(f"{data.name}: the file may be cut off")
            yield np.frombuffer(raw, row)


def _decoded(raw: bytes, pipeline: list[tuple], mask: int, n_bytes: int, name: str) -> bytes:
    """Undo the filters of a chunk, the last one first; never more than `n_bytes` come out."""
    for i, (number, _, options, _) in reversed(list(enumerate(pipeline))):
        if mask >> i & 1:
            continue
        if number == CHECKSUM:
            raw = raw[:-4]
        elif number == DEFLATE:
            try:
                raw = zlib.decompressobj().decompress(raw, n_bytes + 4)
            except zlib.error as error:
                raise BadScan(f"{name}: a chunk cannot be decompressed ({error})") from None
        elif number == SHUFFLE:
            size = options[0] if options else 1
            whole = len(raw) // size * size if size else 0
            shuffled = np.frombuffer(raw[:whole], np.uint8).reshape(size or 1, -1)
            raw = shuffled.T.tobytes() + raw[whole:]
        else:
            raise BadScan(f"{name}: compressed by filter {number}, only deflate is read")
    return raw
