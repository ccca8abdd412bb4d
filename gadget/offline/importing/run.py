"""`jrsr import`: raw data of another format -> an ISMRMRD scan."""

from collections.abc import Callable
from pathlib import Path

import h5py

from gadget.console import print_line
from gadget.errors import Exit, ScanError, UsageError
from gadget.inputs import check_inputs_stay
from jrsr_core.common.atomic import check_space, check_target, whole_file
from jrsr_core.common.spelling import counted
from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.files.foreign import (
    CFL,
    FASTMRI,
    MATLAB,
    NUMPY,
    SIEMENS,
    foreign_kind,
    foreign_words,
    hdf5_kind,
    hdf5_words,
)
from jrsr_core.mrd.files.hdf5 import open_file, reading
from jrsr_core.mrd.files.scan import write_scan

from .cfl import read_cfl
from .fastmri import read_fastmri
from .mat import read_mat
from .npy import read_npy
from .scan import ImportedScan, Stated
from .siemens.read import read_siemens

READERS: dict[str, Callable[[Path, Stated], ImportedScan]] = {
    SIEMENS: read_siemens,
    NUMPY: read_npy,
    MATLAB: read_mat,
    CFL: read_cfl,
    FASTMRI: read_fastmri,
}
"""Format -> reader."""


def import_scan(source: Path, output: Path, stated: Stated, *, overwrite: bool = False) -> Exit:
    """Write a scan in the ISMRMRD format and print what is in it.

    Raises
    ------
    ScanError
        The file is of no known format, broken, or does not fit the statements.
    OSError
        As `jrsr_core.common.atomic.check_target`.
    """
    source = _existing(source)
    check_target(output, overwrite=overwrite)
    check_inputs_stay([output], [source])
    try:
        scan = READERS[_kind(source)](source, stated)
        heads = scan.lines.heads
        n_samples = heads["active_channels"].astype("int64") * heads["number_of_samples"]
        check_space(output.parent, 8 * int(n_samples.sum()))
        with whole_file(output, overwrite=overwrite) as temporary:
            write_scan(temporary, scan.header_xml, scan.lines)
    except (OSError, ValueError, MemoryError) as error:
        raise ScanError(source.name, error) from error
    n_coils = int(heads["active_channels"].max())
    n_longest = int(heads["number_of_samples"].max())
    size = f"{counted(len(heads), 'line')} of {counted(n_coils, 'coil')}"
    print_line(f"{source.name}: {size}, {counted(n_longest, 'sample')} -> {output}")
    for note in scan.notes:
        print_line(f"  {note}")
    return Exit.DONE


def _existing(source: Path) -> Path:
    """Return the file to read; a BART array may be named without its ending."""
    cfl = source.with_name(f"{source.name}.cfl")
    if not source.exists() and cfl.is_file():
        return cfl
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file")
    if source.is_dir():
        raise UsageError(f"{source} is a folder, name one file")
    return source


def _kind(source: Path) -> str:
    """Return the format of a file; raises `UnsupportedScan` or `BadScan` if it has no reader."""
    if h5py.is_hdf5(source):
        with reading("unreadable"), open_file(source) as file:
            names = list(file)
        if kind := hdf5_kind(source, names):
            return kind
        if "dataset" in names:
            raise UnsupportedScan("an ISMRMRD file already, which needs no import")
        found = ", ".join(names) or "nothing"
        words = hdf5_words(source, names) or f"HDF5 without k-space known to JRSR, found: {found}"
        raise UnsupportedScan(words)
    if kind := foreign_kind(source):
        return kind
    if words := foreign_words(source):
        raise UnsupportedScan(words)
    known = "TWIX, fastMRI, .cfl, .npy, .mat of version 5 and newer"
    raise BadScan(f"no raw data of a known format ({known})")
