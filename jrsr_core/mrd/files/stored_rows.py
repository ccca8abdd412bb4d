"""Reads line headers and list lengths from the stored rows of an HDF5 data set, without the lists.

The sandboxed subprocess limits what a damaged or hostile file can cost; this module is not a
defence. It exists for two things that the subprocess and HDF5 do not provide:

- Reading headers at the speed of the disk and in the memory of the headers. Asking HDF5 for the
  field ``head`` alone makes it read every sample as well and never give that memory back (h5py 3.16
  with HDF5 2.0).
- A limit on the number of rows, in proportion to the size of the file. Every row becomes a header
  in the process that plans the scan, which has no limits.

A list is stored as ``uint32`` length, ``uint64`` address of a heap, ``uint32`` index in it; only
lengths are read, no address is followed. The filters of the ISMRMRD libraries are undone here:
deflate, shuffle and checksum. Source: HDF5 File Format Specification 3.0, sections III.D and III.E.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from jrsr_core.mrd.errors import BadScan

VLEN = np.dtype([("n", "<u4"), ("address", "<u8"), ("index", "<u4")])
DEFLATE, SHUFFLE, CHECKSUM = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, 3
AT_ONCE = 2**22
"""Bytes of rows without chunks that are read at once."""

SMALL, BYTES_PER_ROW, MAX_ROWS = 2**20, 512, 2**24
"""Rows accepted in every file; bytes of file for each further row; rows accepted at most."""


class RowContents(NamedTuple):
    """Headers ``(n,)``, and lengths of ``data`` ``(n,)`` in elements."""

    heads: np.ndarray
    lengths: np.ndarray


def check_count(rows: h5py.Dataset) -> None:
    """Raise `BadScan` where a data set has more rows than its file can hold measured data for.

    A line of one coil and 64 samples is larger than `BYTES_PER_ROW`, with its header. A small file
    with many rows holds nothing but repetitions that are compressed away.
    """
    n_bytes = Path(rows.file.filename).stat().st_size
    most = min(max(SMALL, n_bytes // BYTES_PER_ROW), MAX_ROWS)
    if len(rows) > most:
        raise BadScan(
            f"{rows.name} has {len(rows)} rows, at most {most} are accepted in a file of "
            f"{n_bytes} bytes"
        )


def read_rows(rows: h5py.Dataset, lists: dict[str, str]) -> RowContents:
    """Return headers and lengths of all rows.

    `lists` are the members that are lists, with the kind of their elements; ``data`` is one.

    Raises
    ------
    BadScan
        Too many rows, rows of another kind, or rows that are cut off or cannot be decoded.
    """
    check_count(rows)
    row = _stored_layout(rows, lists)
    heads, lengths = np.empty(len(rows), row["head"]), np.empty(len(rows), np.uint32)
    start = 0
    for part in _stored(rows, row):
        stop = start + len(part)
        heads[start:stop], lengths[start:stop] = part["head"], part["data"]["n"]
        start = stop
    return RowContents(heads, lengths)


def _stored_layout(rows: h5py.Dataset, lists: dict[str, str]) -> np.dtype:
    """Return the layout of a stored row: ``head`` as it is, lists as `VLEN`."""
    layout = {"head": rows.dtype["head"]}
    if layout["head"].hasobject:
        raise BadScan(f"{rows.name}: headers are of no fixed size")
    for name, element in lists.items():
        if name not in rows.dtype.names or h5py.check_vlen_dtype(rows.dtype[name]) != element:
            raise BadScan(f"{rows.name}: '{name}' is missing or no list of {element}")
        layout[name] = VLEN
    kind = rows.id.get_type()
    offsets = [kind.get_member_offset(kind.get_member_index(name.encode())) for name in layout]
    return np.dtype(
        {
            "names": list(layout),
            "formats": list(layout.values()),
            "offsets": offsets,
            "itemsize": kind.get_size(),
        }
    )


def _stored(data: h5py.Dataset, row: np.dtype) -> Iterator[np.ndarray]:
    """Yield the rows of a data set as they are stored, some at a time."""
    if data.chunks is None:
        yield from _contiguous(data, row)
        return
    per_chunk = data.chunks[0]
    _check_written(data, per_chunk)
    n_bytes = per_chunk * row.itemsize
    filters = data.id.get_create_plist()
    pipeline = [filters.get_filter(i) for i in range(filters.get_nfilters())]
    for start in range(0, len(data), per_chunk):
        mask, raw = data.id.read_direct_chunk((start,))
        raw = _decoded(raw, pipeline, mask, n_bytes, data.name)
        if len(raw) != n_bytes:
            raise BadScan(f"{data.name}: a chunk of {len(raw)} bytes, expected {n_bytes}")
        yield np.frombuffer(raw, row)[: len(data) - start]


def _check_written(data: h5py.Dataset, per_chunk: int) -> None:
    """Raise `BadScan` where chunks are absent: HDF5 takes their sizes from what memory held."""
    there, needed = data.id.get_num_chunks(), -(-len(data) // per_chunk)
    if there < needed:
        raise BadScan(
            f"{data.name}: {there} of {needed} chunks were ever written, the file may be cut off"
        )


def _contiguous(data: h5py.Dataset, row: np.dtype) -> Iterator[np.ndarray]:
    n_rows, offset = data.size, data.id.get_offset()
    if n_rows and offset is None:
        raise BadScan(f"{data.name}: never written, or stored within its own description")
    at_once = max(1, AT_ONCE // row.itemsize)
    with open(data.file.filename, "rb") as file:  # noqa: PTH123
        file.seek(offset or 0)
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
