"""Reads fastMRI's files: k-space with the scanner's ISMRMRD header.

    kspace           (slice, coil, readout, phase encode), without the coils if there is one
    ismrmrd_header   XML; acquisition, patient_id: attributes

Source: Zbontar et al., arXiv 1811.08839. The lines in front of and behind the acquired ones are
zeros, so that k = 0 lies at n // 2 of both axes.
"""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from gadget.errors import UsageError
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.files.hdf5 import one_text, open_file, reading
from jrsr_core.mrd.files.links import check_group
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.header.scan_header import parse_header

from .arrays import array_encoding, array_lines, array_notes, ordered, stated_geometry
from .header import encoding_element, header_text, read_header
from .memory import check_memory
from .scan import ImportedScan, Stated

STATEMENTS = {"axes", "orientation", "position", "spacing"}
KIND = "a fastMRI file"


def read_fastmri(path: Path, stated: Stated) -> ImportedScan:
    """Read a file; fields of view, matrices and sequence are those of its header.

    Raises
    ------
    UsageError
        Statements that a file of fastMRI does not need; axes that the header does not tell apart.
    BadScan
        No header, k-space of another shape, a broken file.
    """
    stated.check_used(KIND, STATEMENTS)
    with reading("unreadable"), open_file(path) as file:
        kspace, text = _contents(file)
    encoding = parse_header(text).encodings[0]
    axes = stated.axes or _axes(kspace.shape, encoding)
    view = ordered(kspace, axes)
    _, y, x = encoding.recon_fov_mm
    sized = replace(
        stated,
        fov=(x, encoding.acquired_fov_mm[1], encoding.recon_fov_mm[0]),
        oversampling=encoding.readout_oversampling,
    )
    geometry, notes = stated_geometry(sized, view.shape[5])
    lines = array_lines(view, geometry)
    notes += array_notes(view, lines)
    facts = array_encoding(view, lines, geometry)
    _, n_recon, _ = encoding.recon_matrix
    facts = replace(
        facts,
        recon_matrix=(1, n_recon, facts.recon_matrix[2]),
        recon_fov_mm=(encoding.recon_fov_mm[0], y, x),
    )
    stored, stated_matrix = facts.matrix, encoding.encoding_matrix
    if stored != stated_matrix:
        sizes = [" x ".join(map(str, m[:0:-1])) for m in (stored, stated_matrix)]
        notes.append(f"k-space is {sizes[0]}, the header says {sizes[1]}: k-space is right")
    document = read_header(text)
    document.encoding = [encoding_element(facts, lines.heads)]
    if document.acquisitionSystemInformation is not None:
        document.acquisitionSystemInformation.receiverChannels = view.shape[-2]
    return ImportedScan(header_text(document), lines, tuple(notes))


def _contents(file: h5py.File) -> tuple[np.ndarray, str]:
    """Return k-space and the text of the header."""
    check_group(file)
    kspace, header = file.get("kspace"), file.get("ismrmrd_header")
    if not isinstance(kspace, h5py.Dataset) or kspace.ndim not in (3, 4):
        shape = getattr(kspace, "shape", "no array")
        raise BadScan(f"kspace is {shape}, expected (slice, coil, readout, phase encode)")
    if not isinstance(header, h5py.Dataset):
        raise BadScan("no ismrmrd_header in the file: fields of view are not known")
    check_memory(kspace.size * kspace.dtype.itemsize)
    text = one_text(header)
    return kspace[()], text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _axes(shape: tuple[int, ...], encoding: Encoding) -> tuple[str, ...]:
    """Return the axes of k-space: the encoded matrix of the header says which is the readout."""
    n_readout, (*_, n_first, n_second) = encoding.encoding_matrix[2], shape
    first = ("slice", "coil") if len(shape) == 4 else ("slice",)
    if n_first == n_readout:
        return (*first, "x", "y")
    if n_second == n_readout:
        return (*first, "y", "x")
    raise UsageError(
        f"k-space is {n_first} x {n_second}, the header says {n_readout} readout samples: "
        f"name the axes, as --axes {','.join((*first, 'x', 'y'))}"
    )
