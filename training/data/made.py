"""What the scans of a folder are like: from the headers of their files, or as they will be."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from jrsr_core.physics.resolution import Shape

from .acquire import bring_to_size, source_of
from .manifest import Entry, Manifest
from .prepare import scan_path
from .scans import N_VIRTUAL_COILS


@dataclass(frozen=True)
class ScanSize:
    """Number of coils after compression, and acquired matrix ``(ky, kx)``."""

    n_coils: int
    lr_shape: Shape


def made_sizes(folder: Path, manifest: Manifest) -> set[ScanSize]:
    """Return the sizes of the training scans that exist; scans that were cut off do not count."""
    found = set()
    for entry in manifest.split("train"):
        path = scan_path(folder, entry)
        if path.exists() and (size := _size(path)):
            found.add(size)
    return found


def train_sizes(folder: Path, manifest: Manifest) -> list[ScanSize | None]:
    """Return the size of every training scan, also of one that is not made yet.

    It is None for a scan that is still to be drawn (`Acquisition.variety`).
    """
    of_source: dict[int, ScanSize] = {}
    return [_known(folder, manifest, e, of_source) for e in manifest.split("train")]


def _known(
    folder: Path, manifest: Manifest, entry: Entry, of_source: dict[int, ScanSize]
) -> ScanSize | None:
    path = scan_path(folder, entry)
    if path.exists() and (size := _size(path)):
        return size
    if manifest.acquisition.variety is not None:
        return None
    if entry.source in of_source:
        return of_source[entry.source]
    size = _expected(manifest, entry)
    if source_of(manifest, entry).one_matrix:
        of_source[entry.source] = size
    return size


def _expected(manifest: Manifest, entry: Entry) -> ScanSize:
    """Return the size that a scan without variety will have, from the size of its slice."""
    acquisition = manifest.acquisition
    read = source_of(manifest, entry).read(entry.slice)
    data, matrix = bring_to_size(read, acquisition.hr_limit)
    n_coils = data.shape[0] if data.is_complex() else acquisition.fitted(matrix).n_coils
    return ScanSize(min(n_coils, N_VIRTUAL_COILS), matrix)


def _size(path: Path) -> ScanSize | None:
    try:
        with safe_open(path, "pt") as file:
            _, n_coils, ky, kx, *_ = file.get_slice("kspace").get_shape()
    except SafetensorError:
        return None
    return ScanSize(n_coils, (ky, kx))
