"""What the scans of a prepared folder are like, read from the headers of their files."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from jrsr_core.physics.resolution import Shape

from .manifest import Manifest
from .prepare import scan_path


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


def _size(path: Path) -> ScanSize | None:
    try:
        with safe_open(path, "pt") as file:
            _, n_coils, ky, kx, *_ = file.get_slice("kspace").get_shape()
    except SafetensorError:
        return None
    return ScanSize(n_coils, (ky, kx))
