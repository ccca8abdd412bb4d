"""Reads and writes scans in ISMRMRD files, in bulk and with bounded memory.

HDF5 crashes on some damaged files, and never returns from others; `sandbox` reads a file that may
be damaged or hostile.
"""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from jrsr_core.common.closing import Closing
from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.header.scan_header import ScanHeader, parse_header
from jrsr_core.mrd.lines.acquired import HEAD_DTYPE, LineList

from .foreign import hdf5_words
from .hdf5 import fitted, lacking, one_text, open_file, reading
from .links import check_group
from .stored_rows import RowContents, check_count, read_rows

DATASET = "dataset"
FLOATS = h5py.special_dtype(vlen=np.float32)
ROW_DTYPE = np.dtype([("head", HEAD_DTYPE), ("traj", FLOATS), ("data", FLOATS)])
"""Acquisition of ISMRMRD: header, trajectory, samples as pairs (real, imag)."""

BLOCK, BLOCK_BYTES = 128, 2**28


class ScanFile(Closing):
    """A scan on disk, a `LineSource`.

    Attributes
    ----------
    header
        `ScanHeader`.
    heads
        Line headers, ``(n,)`` of `HEAD_DTYPE`.
    dataset, datasets
        Name of the group that was read, and of all groups with acquisitions.

    Raises
    ------
    FileNotFoundError
        No such file.
    BadScan
        Not HDF5, cut off, no data set, no header, no acquisitions; links out of the file, or more
        rows than `check_count` accepts.
    """

    def __init__(self, path: str | Path, *, dataset: str = "") -> None:
        self.path = Path(path)
        self._file = open_file(self.path)
        try:
            with reading("unreadable"):
                group = _find_dataset(self._file, dataset)
                self.dataset = group.name.strip("/")
                self.datasets = tuple(_groups(self._file))
                self.header: ScanHeader = parse_header(one_text(group["xml"]))
                self.heads, self._lengths = _read_heads(group["data"])
        except BaseException:
            self.close()
            raise

    @property
    def _rows(self) -> h5py.Dataset:
        """The lines, opened anew.

        HDF5 2.0 crashes at lines of variable length if a data set is opened by two handles of one
        file and the first handle is closed: reading a scan twice would do that.
        """
        return self._file[f"{self.dataset}/data"]

    def samples(self, indices: np.ndarray) -> np.ndarray:
        """Return complex64 ``(line, coil, sample)`` of lines in any order.

        Raises
        ------
        BadScan
            If a line is not as long as its header says.
        """
        first = self.heads[indices[0]]
        n_coils, n_samples = int(first["active_channels"]), int(first["number_of_samples"])
        lengths = self._lengths[indices]
        is_wrong = lengths != 2 * n_coils * n_samples
        if is_wrong.any():
            wrong = int(np.argmax(is_wrong))
            raise BadScan(
                f"line {indices[wrong]} holds {int(lengths[wrong]) // 2} samples, "
                f"its header says {n_coils} x {n_samples}"
            )
        stored, wanted = np.unique(indices, return_inverse=True)
        parts = [self._read(run) for run in _strided_runs(stored)]
        flat = np.concatenate([x for part in parts for x in part]).astype(np.float32, copy=False)
        lines = flat.view(np.complex64).reshape(len(stored), n_coils, n_samples)
        return lines if np.array_equal(stored, indices) else lines[wanted]

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all lines as records with ``head``, ``traj`` and ``data``, some at a time.

        Raises
        ------
        BadScan
            If they cannot be read.
        """
        longest = 4 * int(self._lengths.max(initial=1))
        at_once = max(1, min(BLOCK, BLOCK_BYTES // longest))
        for start in range(0, len(self.heads), at_once):
            run = slice(start, start + at_once)
            with reading("lines cannot be read"):
                rows = self._rows[run]
            yield rows

    def waveforms(self) -> np.ndarray:
        """Return the waveforms as records with ``head`` and ``data``; of size 0 without any."""
        found = self._rows.parent.get("waveforms")
        if found is None:
            return np.zeros(0)
        if not _is_rows(found):
            raise BadScan(f"'{found.name}' holds no waveforms")
        with reading("waveforms cannot be read"):
            check_count(found)
            return found[()]

    def other(self, dataset: str) -> "ScanFile":
        """Open another group of the same file."""
        return ScanFile(self.path, dataset=dataset)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self, run: slice) -> np.ndarray:
        with reading("samples cannot be read"):
            return self._rows.fields("data")[run]


def write_scan(path: str | Path, header_xml: str, lines: LineList) -> None:
    """Write a scan as the ISMRMRD libraries write it; an existing file is replaced.

    The file is made in memory: HDF5 crashes the process where the disk is full.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        text = file.create_dataset(f"{DATASET}/xml", (1,), h5py.special_dtype(vlen=bytes))
        text[0] = header_xml.encode("utf-8")
        rows = file.create_dataset(
            f"{DATASET}/data",
            (len(lines.heads),),
            ROW_DTYPE,
            maxshape=(None,),
            chunks=(64,),
        )
        nothing = np.zeros(0, np.float32)
        for start in range(0, len(lines.heads), BLOCK):
            heads = lines.heads[start : start + BLOCK]
            block = np.empty(len(heads), ROW_DTYPE)
            block["head"] = heads
            for i in range(len(heads)):
                line = np.ascontiguousarray(lines.data[start + i], np.complex64)
                block["traj"][i] = nothing
                block["data"][i] = line.view(np.float32).reshape(-1)
            rows[start : start + len(heads)] = block
    # Not by a view of the buffer: Python 3.12.1 crashes where it is collected after a full disk.
    buffer.seek(0)
    with Path(path).open("wb") as whole:
        shutil.copyfileobj(buffer, whole, 2**20)


def _groups(file: h5py.File) -> dict[str, h5py.Group]:
    """Return the groups that hold acquisitions, by name."""
    return {
        name: group
        for name, group in file.items()
        if isinstance(group, h5py.Group) and _is_rows(group.get("data"))
    }


def _find_dataset(file: h5py.File, wanted: str) -> h5py.Group:
    """Return the group `wanted`, else `dataset`, else the only group that holds acquisitions."""
    check_group(file)
    groups = _groups(file)
    found = ", ".join(groups) or ", ".join(file) or "nothing"
    named = file.get(wanted or DATASET)
    if isinstance(named, h5py.Group):
        group = named
    elif wanted:
        raise BadScan(f"no group {wanted!r} in the file, found: {found}")
    elif len(groups) == 1:
        group = next(iter(groups.values()))
    elif groups:
        raise BadScan(f"several groups with acquisitions, choose one with --dataset: {found}")
    elif words := hdf5_words(Path(file.filename), file):
        raise UnsupportedScan(f"not an ISMRMRD file but {words}")
    else:
        raise BadScan(f"no group '{DATASET}' in the file, found: {found}")
    check_group(group)
    if not groups and _holds_images(group):
        raise UnsupportedScan("images, which have no raw data; `jrsr convert` exports them")
    if not isinstance(group.get("xml"), h5py.Dataset) or group["xml"].size == 0:
        raise BadScan(f"no header: '{group.name}/xml' is missing")
    if not _is_rows(group.get("data")):
        raise BadScan(f"no acquisitions: '{group.name}/data' is missing or of another kind")
    return group


def holds_acquisitions(path: Path) -> bool:
    """Return whether a file has a group with acquisitions; raises as `open_file`."""
    with open_file(path) as file, reading("unreadable"):
        return any(isinstance(g, h5py.Group) and "data" in g for g in file.values())


def _holds_images(group: h5py.Group) -> bool:
    """Return whether there are series of images as `recon` and Gadgetron write them."""
    wanted = {"header", "data"}
    return any(isinstance(g, h5py.Group) and wanted <= set(g) for g in group.values())


def _is_rows(data: object) -> bool:
    if not isinstance(data, h5py.Dataset) or data.ndim != 1:
        return False
    return {"head", "data"} <= set(data.dtype.names or ())


def _read_heads(rows: h5py.Dataset) -> RowContents:
    if missing := sorted(lacking(rows.dtype["head"], HEAD_DTYPE)):
        raise BadScan(f"acquisition headers lack {', '.join(missing)}")
    lists = {name: "float32" for name in ("traj", "data") if name in rows.dtype.names}
    contents = read_rows(rows, lists)
    return contents._replace(heads=fitted(contents.heads, HEAD_DTYPE))


def _strided_runs(indices: np.ndarray) -> list[slice]:
    """Cover increasing indices by slices of constant stride: interleaved slices are regular."""
    runs, start = [], 0
    while start < len(indices):
        stop = start + 1
        step = int(indices[stop] - indices[start]) if stop < len(indices) else 1
        while stop < len(indices) and indices[stop] - indices[stop - 1] == step:
            stop += 1
        runs.append(slice(int(indices[start]), int(indices[stop - 1]) + 1, max(step, 1)))
        start = stop
    return runs
