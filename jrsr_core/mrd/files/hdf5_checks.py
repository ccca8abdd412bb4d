"""How a scan lies in its HDF5 file, checked before HDF5 is asked for a single value.

Refused are links and data sets that lead out of the file, sizes beyond `FileLimits`, and broken
heaps (`heaps`). The length of every line is read from the stored row itself,

    vlen   uint32 length, uint64 address of the heap, uint32 index in it

and compared with a limit: HDF5 would allocate that length before it looks further.
"""

import math
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product, repeat
from typing import NamedTuple

import h5py
import numpy as np

from jrsr_core.mrd.errors import BadScan

# FOLDED jrsr_core/mrd/heaps.py: The heaps in which an HDF5 file keeps what has no fixed length, walked before HDF5 walks them.
HEAP, OBJECT = struct.Struct("<4s4xQ"), struct.Struct("<H6xQ")
MOST_OBJECTS = 2**16
"""In one heap: their index has 16 bits."""

REMEMBERED = 2**16


class Heaps:
    """Those of one file; each is walked when it is asked for, and not again soon."""

    def __init__(self, file: h5py.File) -> None:
        sizes = file.id.get_create_plist().get_sizes()
        if sizes != (8, 8):
            raise BadScan(f"addresses and sizes of {sizes} bytes, only those of 8 are read")
        self._path = file.filename
        self._base = file.userblock_size
        self._sound: set[int] = set()

    def check(self, addresses: np.ndarray) -> None:
        """Raise `BadScan` unless HDF5 can walk the heaps at these addresses; 0 is none."""
        asked = np.unique(addresses[addresses != 0]).tolist()
        new = [address for address in asked if address not in self._sound]
        if not new:
            return
        with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123
            n_bytes = os.fstat(file.fileno()).st_size
            for address in new:
                _walk(file.fileno(), self._base + address, n_bytes)
        if len(self._sound) > REMEMBERED:
            self._sound.clear()
        self._sound.update(new)


def _walk(file: int, start: int, n_bytes: int) -> None:
    if start >= 2**63:
        raise _broken(start)
    signature, size = _unpacked(HEAP, file, start)
    end = start + size
    if signature != b"GCOL" or end > n_bytes:
        raise _broken(start)
    at = start + HEAP.size
    for _ in range(MOST_OBJECTS):
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


VLEN = np.dtype([("n", "<u4"), ("address", "<u8"), ("index", "<u4")])
DEFLATE, SHUFFLE, CHECKSUM = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, 3


@dataclass(frozen=True)
class FileLimits:
    """Largest sizes accepted in a file.

    `lines` counts acquisitions or waveforms, `line` and `chunk` are bytes of one line and of one
    stored chunk of rows (samples not included), `header` bytes of XML or of the
    attributes of an image, `members` counts the objects of a group.
    """

    lines: int = 2**24
    line: int = 2**26
    chunk: int = 2**28
    header: int = 2**24
    members: int = 4096


def check_group(group: h5py.Group, limits: FileLimits) -> None:
    """Raise `BadScan` where a member of a group, or of a group in it, leads out of the file."""
    if len(group) > limits.members:
        raise BadScan(f"{group.name} has {len(group)} members, at most {limits.members}")
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise BadScan(f"'{name}' in {group.name} is a {type(link).__name__}, only data is read")
        member = group[name]
        if isinstance(member, h5py.Dataset) and (member.is_virtual or member.external):
            raise BadScan(f"'{name}' in {group.name} lies in other files, which are not read")


def check_header(text: h5py.Dataset, heaps: Heaps, limits: FileLimits) -> None:
    """Raise `BadScan` unless this is one text of a reasonable size."""
    if text.size != 1:
        raise BadScan(f"'{text.name}' holds {text.size} values of {text.dtype}, expected one text")
    check_texts(text, "header", heaps, limits)


def check_texts(texts: h5py.Dataset, what: str, heaps: Heaps, limits: FileLimits) -> None:
    """Raise `BadScan` unless these are texts of a reasonable size, in sound heaps.

    `what` is what one of them is called.
    """
    kind = h5py.check_string_dtype(texts.dtype)
    if kind is None:
        raise BadScan(f"'{texts.name}' holds {texts.dtype}, expected text")
    if kind.length is not None:
        _check_text(what, kind.length, limits)
        return
    for stored in stored_rows(texts, VLEN, limits):
        heaps.check(stored["address"])
        _check_text(what, int(stored["n"].max()), limits)


def _check_text(what: str, n_bytes: int, limits: FileLimits) -> None:
    if n_bytes > limits.header:
        raise BadScan(f"{what} of {n_bytes} bytes, at most {limits.header} are accepted")


def check_members(kind: np.dtype, name: str) -> None:
    """Raise `BadScan` where the members of a row overlap: HDF5 writes beyond its buffers then."""
    if kind.names is None:
        return
    end = 0
    for member, offset in sorted(kind.fields.values(), key=lambda field: field[1]):
        if offset < end:
            raise BadScan(f"{name}: the members of a row overlap")
        check_members(member.base, name)
        end = offset + member.itemsize
    if end > kind.itemsize:
        raise BadScan(f"{name}: the members of a row are longer than the row")


class StoredRows(NamedTuple):
    """Heads ``(n,)``, lengths of ``data`` ``(n,)``, and heaps of all lists ``(n, list)``."""

    heads: np.ndarray
    lengths: np.ndarray
    heaps: np.ndarray


def check_rows(rows: h5py.Dataset, vlens: dict[str, str], limits: FileLimits) -> StoredRows:
    """Return what rows consist of; no list is too long. Their heaps are not looked at.

    `vlens` are the members that are lists, with the kind of their elements.

    Raises
    ------
    BadScan
        Too many rows, rows of another kind, or lines that are too long.
    """
    if len(rows) > limits.lines:
        raise BadScan(f"{rows.name} has {len(rows)} rows, at most {limits.lines} are accepted")
    layout = {"head": rows.dtype["head"]}
    if layout["head"].hasobject:
        raise BadScan(f"{rows.name}: heads are of no fixed size")
    for name, element in vlens.items():
        if name not in rows.dtype.names or h5py.check_vlen_dtype(rows.dtype[name]) != element:
            raise BadScan(f"{rows.name}: '{name}' is missing or no list of {element}")
        layout[name] = VLEN
    kind = rows.id.get_type()
    offsets = [kind.get_member_offset(kind.get_member_index(name.encode())) for name in layout]
    row = np.dtype(
        {
            "names": list(layout),
            "formats": list(layout.values()),
            "offsets": offsets,
            "itemsize": kind.get_size(),
        }
    )
    check_members(row, rows.name)
    heads, lengths = [np.empty(0, layout["head"])], [np.empty(0, np.uint32)]
    heaps = [np.empty((0, len(vlens)), np.uint64)]
    for part in stored_rows(rows, row, limits):
        heads.append(part["head"].copy())
        lengths.append(part["data"]["n"].copy())
        heaps.append(np.stack([part[name]["address"] for name in vlens], 1))
        for name, element in vlens.items():
            longest = int(part[name]["n"].max()) * np.dtype(element).itemsize
            if longest > limits.line:
                text = f"{rows.name}: a line of {longest} bytes, at most {limits.line} are accepted"
                raise BadScan(text)
    return StoredRows(np.concatenate(heads), np.concatenate(lengths), np.concatenate(heaps))


def stored_rows(data: h5py.Dataset, row: np.dtype, limits: FileLimits) -> Iterator[np.ndarray]:
    """Yield the rows of a data set as they are stored, some at a time, none of them empty."""
    if data.chunks is None:
        yield from _contiguous(data, row, limits)
        return
    per_chunk = data.chunks[0]
    _check_chunk(data, per_chunk * row.itemsize, limits)
    filters = data.id.get_create_plist()
    pipeline = [filters.get_filter(i) for i in range(filters.get_nfilters())]
    for start in range(0, len(data), per_chunk):
        _check_written(data, (start,), limits)
        mask, raw = data.id.read_direct_chunk((start,))
        n_bytes = per_chunk * row.itemsize
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
