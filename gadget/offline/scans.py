"""Scan files: finding them in folders, and opening one here or in a sandboxed subprocess."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from gadget.errors import UsageError
from jrsr_core.mrd.files.sandbox import SandboxedScan
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.lines import NOISE, has_flag

SUFFIXES = (".h5", ".hdf5", ".mrd", ".ismrmrd")

Scan = ScanFile | SandboxedScan


def open_scan(path: Path, *, untrusted: bool, dataset: str = "") -> Scan:
    """Open a scan, an `untrusted` one in a sandboxed subprocess; raises as either class.

    `dataset` is the group to read; empty for ``dataset``, or the only one.
    """
    return (SandboxedScan if untrusted else ScanFile)(path, dataset=dataset)


@contextmanager
def noise_scan(scan: Scan, n_coils: int) -> Iterator[Scan | None]:
    """Open the noise scan that another group of the file holds; None where there is none.

    It is the first group of nothing but noise lines of as many channels.
    """
    for name in scan.datasets:
        if name == scan.dataset:
            continue
        untrusted = isinstance(scan, SandboxedScan)
        with open_scan(scan.path, untrusted=untrusted, dataset=name) as other:
            is_noise = has_flag(other.heads, NOISE) & (other.heads["active_channels"] == n_coils)
            if len(is_noise) and is_noise.all():
                yield other
                return
    yield None


def find_scans(inputs: list[Path], *, untrusted: bool = False) -> list[Path]:
    """Return the scan files named directly or held by the named folders, each once.

    In a folder, a file with one of `SUFFIXES` is a scan if it contains acquisitions. If `untrusted`
    is set, all of these files are returned, because finding out would mean opening them here.

    Raises
    ------
    UsageError
        A folder without scans.
    FileNotFoundError
        Neither file nor folder.
    """
    found: dict[Path, None] = {}
    for path in inputs:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        if not path.is_dir():
            found[path] = None
            continue
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        scans = [p for p in files if untrusted or _has_acquisitions(p)]
        if not scans:
            raise UsageError(f"{path}: no ISMRMRD scans in this folder")
        found |= dict.fromkeys(scans)
    return list(found)


def _has_acquisitions(path: Path) -> bool:
    """Tell a scan from the images of an earlier run; a broken file counts as a scan.

    A broken file is then reported when it is opened.
    """
    try:
        with h5py.File(path, "r") as file:
            return any(isinstance(g, h5py.Group) and "data" in g for g in file.values())
    except Exception:
        return True
