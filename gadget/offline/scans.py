"""Scan files: finding them in folders, and opening one here or in a sandboxed subprocess."""

from pathlib import Path
from typing import NamedTuple

from gadget.errors import UsageError
from jrsr_core.mrd.files.foreign import foreign_kind
from jrsr_core.mrd.files.other_groups import OpenScan
from jrsr_core.mrd.files.sandbox import Sandbox, SandboxedScan
from jrsr_core.mrd.files.sandbox_process import SandboxLimits
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.files.suffixes import HDF5_SUFFIXES

LOOK_SECONDS = 20.0
"""Time limit for finding out whether a file holds acquisitions."""


class Found(NamedTuple):
    """Scan files, and those among them that are read in a sandboxed subprocess."""

    scans: list[Path]
    sandboxed: frozenset[Path]


def open_scan(path: Path, sandbox: Sandbox | None = None, *, dataset: str = "") -> OpenScan:
    """Open a scan, in a subprocess of the sandbox where there is one; raises as either class.

    `dataset` is the group to read; empty for ``dataset``, or the only one.
    """
    if sandbox is None:
        return ScanFile(path, dataset=dataset)
    return SandboxedScan(path, sandbox, dataset=dataset)


def find_scans(inputs: list[Path], *, untrusted: bool = False) -> Found:
    """Return the scan files named directly or held by the named folders, each once.

    In a folder, a file with one of `HDF5_SUFFIXES` is a scan if it contains acquisitions, or if it
    cannot be read: the error is then reported when the scan is opened. Files of a folder are read
    in a sandboxed subprocess; files named directly are if `untrusted` is set.

    Raises
    ------
    UsageError
        A folder without scans.
    FileNotFoundError
        Neither file nor folder.
    """
    named: set[Path] = set()
    found: dict[Path, None] = {}
    with Sandbox(SandboxLimits(answer=LOOK_SECONDS)) as sandbox:
        for path in inputs:
            if not path.exists():
                raise FileNotFoundError(f"{path}: no such file or folder")
            if not path.is_dir():
                named.add(path)
                found[path] = None
                continue
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in HDF5_SUFFIXES)
            scans = [p for p in files if sandbox.holds_acquisitions(p)]
            if not scans:
                raise UsageError(f"{path}: no ISMRMRD scans in this folder{_foreign_files(path)}")
            found |= dict.fromkeys(scans)
    sandboxed = frozenset(found) if untrusted else frozenset(found) - named
    return Found(list(found), sandboxed)


def _foreign_files(folder: Path) -> str:
    """Return how many files `jrsr import` takes, "" for none; only their first bytes are read."""
    n = sum(bool(foreign_kind(p)) for p in folder.iterdir() if p.is_file())
    return f", {n} of other formats that `jrsr import` takes" if n else ""
