"""Checks groups, texts and rows of an ISMRMRD file before HDF5 is asked for a single value.

Refused are links and data sets that lead out of the file, sizes beyond `FileLimits`, and broken
heaps. The length of every line is read from the stored row itself,

    vlen   uint32 length, uint64 address of the heap, uint32 index in it

and compared with a limit.
"""

from typing import NamedTuple

import h5py
import numpy as np

from jrsr_core.mrd.errors import BadScan

from .chunks import FileLimits, stored_rows
from .heaps import Heaps

VLEN = np.dtype([("n", "<u4"), ("address", "<u8"), ("index", "<u4")])


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
    """Raise `BadScan` unless this is one text of at most `limits.header` bytes."""
    if text.size != 1:
        raise BadScan(f"'{text.name}' holds {text.size} values of {text.dtype}, expected one text")
    check_texts(text, "header", heaps, limits)


def check_texts(texts: h5py.Dataset, what: str, heaps: Heaps, limits: FileLimits) -> None:
    """Raise `BadScan` unless these are texts of at most `limits.header` bytes in whole heaps.

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
    if kind.fields is None:
        return
    end = 0
    for member, offset, *_ in sorted(kind.fields.values(), key=lambda field: field[1]):
        if offset < end:
            raise BadScan(f"{name}: the members of a row overlap")
        check_members(member.base, name)
        end = offset + member.itemsize
    if end > kind.itemsize:
        raise BadScan(f"{name}: the members of a row are longer than the row")


class RowContents(NamedTuple):
    """Headers ``(n,)``, lengths of ``data`` ``(n,)``, and heap addresses of lists ``(n, list)``."""

    heads: np.ndarray
    lengths: np.ndarray
    heaps: np.ndarray


def check_rows(rows: h5py.Dataset, lists: dict[str, str], limits: FileLimits) -> RowContents:
    """Return the contents of rows without their lists, whose lengths are within the limits.

    `lists` are the members that are lists, with the kind of their elements. Their heaps are not
    checked.

    Raises
    ------
    BadScan
        Too many rows, rows of another kind, or lines that are too long.
    """
    if len(rows) > limits.lines:
        raise BadScan(f"{rows.name} has {len(rows)} rows, at most {limits.lines} are accepted")
    row = _stored_layout(rows, lists)
    heads, lengths = [np.empty(0, row["head"])], [np.empty(0, np.uint32)]
    heaps = [np.empty((0, len(lists)), np.uint64)]
    for part in stored_rows(rows, row, limits):
        heads.append(part["head"].copy())
        lengths.append(part["data"]["n"].copy())
        heaps.append(np.stack([part[name]["address"] for name in lists], 1))
        for name, element in lists.items():
            longest = int(part[name]["n"].max()) * np.dtype(element).itemsize
            if longest > limits.line:
                text = f"{rows.name}: a line of {longest} bytes, at most {limits.line} are accepted"
                raise BadScan(text)
    return RowContents(np.concatenate(heads), np.concatenate(lengths), np.concatenate(heaps))


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
    row = np.dtype(
        {
            "names": list(layout),
            "formats": list(layout.values()),
            "offsets": offsets,
            "itemsize": kind.get_size(),
        }
    )
    check_members(row, rows.name)
    return row
