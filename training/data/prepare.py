"""Make the scans of a manifest: all of them once (`prepare`), or each when it is first needed.

An interrupted preparation continues where it stopped; several processes may share one folder.
"""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset

from training.errors import UsageError

from .acquire import make_scan
from .listing import build_manifest
from .manifest import NAME, Acquisition, Entry, Manifest
from .scans import save_scan
from .sources import find_sources
from .workers import load


def scan_path(folder: Path, entry: Entry) -> Path:
    """Return the file of a scan."""
    return folder / f"{entry.name}.safetensors"


def get_scan(folder: Path, manifest: Manifest, entry: Entry) -> dict[str, Tensor]:
    """Return the half-precision tensors of a scan; make and save it if it is not there yet.

    A scan that was cut off, by a power failure or a copy, is made again as well.

    Raises
    ------
    ValueError
        It cannot be made; after a cut-off scan its file is named.
    """
    path = scan_path(folder, entry)
    if not path.exists():
        save_scan(path, make_scan(manifest, entry))
    try:
        return load_file(path)
    except SafetensorError:
        try:
            save_scan(path, make_scan(manifest, entry))
        except (ValueError, OSError) as error:
            raise ValueError(f"{path}: cut off, and not made again: {error}") from error
    return load_file(path)


def is_made(path: Path) -> bool:
    """Return whether a scan is there as a whole: its header states the size of the file."""
    try:
        with safe_open(path, "pt"):
            return True
    except (SafetensorError, FileNotFoundError):
        return False


def open_folder(
    data: list[Path], folder: Path, acquisition: Acquisition, n_scans: int | None = None
) -> Manifest:
    """Return the manifest of `folder`, written now if the folder is new.

    Raises
    ------
    ValueError
        The folder was prepared from other inputs or in another way; the difference is named.
    """
    wanted = build_manifest(find_sources(data), acquisition, n_scans)
    if not (folder / NAME).exists():
        wanted.write(folder)
        return wanted
    found = Manifest.read(folder)
    # A folder keeps the version in which it was begun.
    wanted = replace(wanted, version=found.version)
    if found.sha256 != wanted.sha256:
        raise UsageError(f"{folder}: prepared otherwise, {_difference(found, wanted)}")
    if found.paths != wanted.paths:
        wanted.write(folder)
    return wanted


def _difference(found: Manifest, wanted: Manifest) -> str:
    for name, value in vars(wanted.acquisition).items():
        other = getattr(found.acquisition, name)
        if other != value:
            return f"{name} is {other}, wanted {value}"
    if found.sources != wanted.sources:
        names = [", ".join(s["name"] for s in m.sources) for m in (found, wanted)]
        return f"inputs are {names[0]}, wanted {names[1]} (or their content changed)"
    return f"{len(found.scans)} scans, wanted {len(wanted.scans)}"


@dataclass(frozen=True)
class MissingScans(Dataset):
    """Scans that are to be made: the item of an entry is its index, once its scan is on disk."""

    folder: Path
    manifest: Manifest
    entries: list[Entry]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> int:
        torch.set_num_threads(1)  # In this process as in a worker.
        entry = self.entries[index]
        save_scan(scan_path(self.folder, entry), make_scan(self.manifest, entry))
        return index


def make_all(folder: Path, manifest: Manifest, *, workers: int = 0) -> Generator[Entry]:
    """Make the missing scans of training and validation; yield every entry that is on disk.

    Workers end with the generator. Scans in hand are lost then; a file is there as a whole or not
    at all.
    """
    missing = []
    for entry in manifest.split("train") + manifest.split("val"):
        if is_made(scan_path(folder, entry)):
            yield entry
        else:
            missing.append(entry)
    scans = MissingScans(folder, manifest, missing)
    with closing(load(scans, workers, batch_size=None)) as made:
        for index in made:
            yield missing[index]
