"""The slices that systems are judged on: found in files, then scanned by a protocol.

A file is an image stack (`simulation.image_stack`). Coils, phase and noise are drawn from the index
of the slice in its file; all slices share one mask, that of the training.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from jrsr_core.acs import cut_acs
from jrsr_core.data import KSpaceSlice, SliceGeometry
from jrsr_core.matrix import hr_length
from jrsr_core.mrd.files.suffixes import HDF5_SUFFIXES
from jrsr_core.simulation.acquisition import SimulatedSlice
from jrsr_core.simulation.image_stack import as_magnitude, load_image
from jrsr_core.simulation.protocols import find_protocol, simulate_protocol
from jrsr_core.spread import spread
from training.errors import UsageError

from .n_acs import fitting_acs
from .sources.hdf5 import open_stack


@dataclass(frozen=True)
class SliceAddress:
    """One slice of a file.

    `sha256` are twelve digits of the hash of its pixels, `pixel_mm` is the attribute of this name
    of the file, None where it has none.
    """

    path: Path
    index: int
    subject: str
    sha256: str
    pixel_mm: float | None = None

    @property
    def file(self) -> str:
        """Name of the file without its suffix."""
        return self.path.stem

    @property
    def place(self) -> tuple[str, str]:
        """File and slice as a CSV of `evaluate` names them."""
        return self.file, str(self.index)


@dataclass(frozen=True)
class ScannedSlice:
    """One slice and its simulated scan."""

    address: SliceAddress
    scan: SimulatedSlice


def _addresses(path: Path) -> list[SliceAddress]:
    found = []
    with open_stack(path) as stack:
        pixel_mm = stack.pixel_mm()
        for i, subject in enumerate(stack.subjects()):
            pixels = stack.stored(i)
            image = as_magnitude(pixels, f"{path}: slice {i}")
            if bool(image.any()):  # A slice without signal cannot be judged.
                digest = hashlib.sha256(pixels.tobytes()).hexdigest()[:12]
                found.append(SliceAddress(path, i, subject, digest, pixel_mm))
    return found


def find_slices(data: Path, n_wanted: int | None = None) -> list[SliceAddress]:
    """Return slices with signal of a file, or of all HDF5 files of a folder, evenly spread.

    Raises
    ------
    ValueError
        A folder without files, a file of another layout, one without signal, or pixels that are
        not finite.
    FileNotFoundError
        Neither file nor folder.
    """
    paths = [data]
    if data.is_dir():
        paths = sorted(p for p in data.iterdir() if p.suffix.lower() in HDF5_SUFFIXES)
        if not paths:
            raise UsageError(f"{data}: no HDF5 files ({', '.join(HDF5_SUFFIXES)}) in this folder")
    elif not data.exists():
        raise FileNotFoundError(f"{data}: no such file or folder")
    found = [address for path in paths for address in _addresses(path)]
    if not found:
        raise UsageError(f"{data}: no slice with signal")
    return [found[i] for i in spread(len(found), n_wanted)]


def read_slice(address: SliceAddress) -> Tensor:
    """Return the HR magnitude of one slice, without the last row or column of an odd size."""
    image = load_image(address.path, address.index)
    ny, nx = map(hr_length, image.shape)
    return image[:ny, :nx].contiguous()


def scan_test_image(image: Tensor, protocol: str, seed: int) -> SimulatedSlice:
    """Simulate the scan of an HR magnitude; `seed` draws coils, phase and noise.

    Raises
    ------
    ValueError
        Unknown protocol, or an image too small for it.
    """
    own = find_protocol(protocol)
    return simulate_protocol(
        own, image, n_acs=fitting_acs(own, own.lr_shape(image.shape)), seed=seed
    )


def scan_slice(address: SliceAddress, protocol: str) -> ScannedSlice:
    """Simulate the scan of one slice, with its index in the file as the seed.

    Raises
    ------
    ValueError
        Unknown protocol, or a slice too small for it; file and slice are named.
    """
    image = read_slice(address)
    find_protocol(protocol)
    with naming(address):
        return ScannedSlice(address, scan_test_image(image, protocol, address.index))


@contextmanager
def naming(address: SliceAddress) -> Iterator[None]:
    """Name file and slice in the message of a `ValueError` within the context."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{address.path}: slice {address.index}: {error}") from error


def as_kspace_slice(scan: SimulatedSlice, *, fully_sampled: bool = False) -> KSpaceSlice:
    """Return the `KSpaceSlice` that the assembler would make of a simulated scan."""
    mask = torch.ones_like(scan.mask) if fully_sampled else scan.mask
    kspace = scan.fully_sampled if fully_sampled else scan.kspace
    geometry = SliceGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5.0, 200.0, 200.0))
    return KSpaceSlice(kspace, mask, cut_acs(kspace, scan.mask), geometry, noise_std=scan.noise_std)
