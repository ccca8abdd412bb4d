"""Recognises files of other formats by their first bytes, and names the command that takes them.

Sources: NIfTI-1 and NIfTI-2 (Cox et al.), DICOM PS3.10, NumPy's format 1 to 3, MATLAB's level 5
MAT-file format, Siemens TWIX as `siemens_to_ismrmrd` reads it, RFC 1952 (gzip).
"""

import re
import shlex
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

HEAD_BYTES = 1024
MAX_MEASUREMENTS = 64
"""Entries of the table in front of a Siemens file of VD or VE."""

SIEMENS, NUMPY, MATLAB, CFL, FASTMRI = "siemens", "npy", "mat", "cfl", "fastmri"
"""Kinds of k-space that `jrsr import` takes."""

IMPORTABLE = {
    SIEMENS: "Siemens raw data (TWIX)",
    NUMPY: "a NumPy array",
    MATLAB: "a MATLAB file",
    CFL: "a BART array",
    FASTMRI: "k-space of fastMRI",
}

_NO_RAW_DATA = ", which has no raw data"
_FROM_KSPACE = "; JRSR reconstructs from k-space"
"""Reasons why images are not reconstructed."""

_STARTS = (
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"yardl", "a stream of MRD version 2; `jrsr stream` reconstructs it"),
    (b"\x89PNG", f"a PNG picture{_NO_RAW_DATA}"),
    (b"\xff\xd8\xff", f"a JPEG picture{_NO_RAW_DATA}"),
    (b"%PDF", f"a PDF document{_NO_RAW_DATA}"),
    (b"<?xml", "an XML text; the header alone is no scan"),
)


def foreign_kind(path: Path) -> str:
    """Return which of the formats of `jrsr import` a file has by its first bytes, "" for none.

    MATLAB 7.3 and fastMRI are HDF5; `hdf5_kind` tells them apart.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    head = _first_bytes(path)
    if head.startswith(b"\x93NUMPY"):
        return NUMPY
    if head.startswith((b"MATLAB 5.0", b"MATLAB 7.3")):
        return MATLAB
    if _is_siemens(path, head):
        return SIEMENS
    is_header = path.suffix == ".hdr" and path.with_suffix(".cfl").is_file()
    if path.suffix == ".cfl" or is_header or head.startswith(b"# Dimensions"):
        return CFL
    return ""


def foreign_words(path: Path) -> str:
    """Return what a file that is not HDF5 is and which command takes it, "" if not recognised.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    head = _first_bytes(path)
    for start, words in _STARTS:
        if head.startswith(start):
            return words
    if head[128:132] == b"DICM":
        return f"a DICOM image{_NO_RAW_DATA}{_FROM_KSPACE}"
    if head.startswith(b"\x1f\x8b"):
        packed = f"a NIfTI image (gzip){_NO_RAW_DATA}{_FROM_KSPACE}"
        return packed if _is_nifti(_inflated(head)) else "a gzip file; unpack it first"
    if _is_nifti(head):
        return f"a NIfTI image{_NO_RAW_DATA}{_FROM_KSPACE}"
    kind = foreign_kind(path)
    return _taken_by_import(path, kind) if kind else ""


def foreign_name(path: Path) -> str:
    """Return what a file that is not HDF5 is, without the advice of `foreign_words`."""
    return re.split("[,;]", foreign_words(path))[0]


def without_reason(words: str) -> str:
    """Return words of `foreign_words` or `hdf5_words` without why images are not reconstructed."""
    return words.partition(_NO_RAW_DATA)[0].partition(_FROM_KSPACE)[0]


def hdf5_kind(path: Path, names: Iterable[str]) -> str:
    """Return which of the formats of `jrsr import` an HDF5 file has, "" for none.

    `names` are the members of its root.
    """
    if _first_bytes(path).startswith(b"MATLAB 7.3"):
        return MATLAB
    return FASTMRI if "kspace" in set(names) else ""


def hdf5_words(path: Path, names: Iterable[str]) -> str:
    """Return what an HDF5 file without acquisitions is, "" if not recognised."""
    found = set(names)
    if kind := hdf5_kind(path, found):
        return _taken_by_import(path, kind)
    if {"reconstruction_rss", "reconstruction_esc"} & found:
        return f"images of fastMRI without k-space{_FROM_KSPACE}"
    if "slices" in found:
        return "magnitude images for training (`jrsr-train prepare`), which have no raw data"
    return ""


def _taken_by_import(path: Path, kind: str) -> str:
    """Return what a file is, and the command that makes a scan of it."""
    command = f"jrsr import {shlex.quote(path.name)} -o scan.h5"
    return f"{IMPORTABLE[kind]}; `{command}` makes an ISMRMRD scan of k-space in it"


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _inflated(head: bytes) -> bytes:
    """Return what the first bytes of a gzip file hold, b"" if they are broken."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


def _is_nifti(head: bytes) -> bool:
    is_first = head[344:348] in (b"n+1\0", b"ni1\0")
    return is_first or head[4:8] in (b"n+2\0", b"ni2\0")


def _is_siemens(path: Path, head: bytes) -> bool:
    """Return whether a header of the scanner's protocol is where VB, or VD and VE, put it."""
    if len(head) < 24:
        return False
    if _is_protocol(head):
        return True
    _, n_measurements = struct.unpack_from("<II", head)
    if not 0 < n_measurements <= MAX_MEASUREMENTS:
        return False
    (start,) = struct.unpack_from("<Q", head, 16)
    if not start < path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(start)
        return _is_protocol(file.read(24))


def _is_protocol(head: bytes) -> bool:
    """Return whether this begins a protocol: its length, a number of parts, the name of one."""
    if len(head) < 24:
        return False
    length, n_parts = struct.unpack_from("<II", head)
    name, end, _ = head[8:].partition(b"\0")
    is_name = bool(end) and len(name) >= 4 and name.isalnum()
    return is_name and 0 < n_parts <= 64 and length > 64
