"""Scans of a phantom or of an image, written as a scanner would; the truth beside them."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import torch
from torch import Tensor

from jrsr_core.mrd.file import write_scan
from jrsr_core.mrd.output import check_target, publish, temporary_beside
from jrsr_core.mrd.simulated import simulated_scan
from jrsr_core.mrd.simulated_header import ScanLabels
from jrsr_core.simulation.acquisition import white_noise
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import PROTOCOLS, load_image, simulate_protocol

from .errors import UsageError
from .settings import nearest

NO_NOISE_DB = 300.0
SLICE_MM = 5.0


@dataclass(frozen=True)
class ScanRequest:
    """What to simulate; None leaves a number to the protocol.

    `image` is ``FILE:INDEX`` of an HDF5 file with a data set ``slices``, empty for the phantom.
    """

    protocol: str = "brain-5x"
    mask: str | None = None
    acceleration: float | None = None
    n_coils: int | None = None
    image: str = ""
    noise_db: float | None = None
    noise_scan: bool = True
    oversampling: bool = True
    averages: int = 1
    slices: int = 1
    interleaved: bool = False
    seed: int = 0


@dataclass(frozen=True, eq=False)
class ScanArrays:
    """k-space ``(average, slice, coil, ky, kx)``, mask ``(ky, kx)``, truth ``(slice, y, x)``."""

    kspace: Tensor
    mask: Tensor
    truth: Tensor
    noise: Tensor
    noise_std: float


def simulate_arrays(request: ScanRequest) -> ScanArrays:
    """Simulate; all slices and averages share one noise level, that of the first slice."""
    protocol = _protocol(request.protocol)
    changes = {
        "n_coils": request.n_coils,
        "acceleration": request.acceleration,
        "mask": request.mask,
    }
    generator = torch.Generator().manual_seed(request.seed + 1)
    kspace, truth, first = [], [], None
    for number in range(request.slices):
        image = _image(request, number)
        seed = request.seed + number
        if first is None:
            noise_db = request.noise_db
            first = simulate_protocol(protocol, image, **changes, noise_db=noise_db, seed=seed)
        quiet = simulate_protocol(protocol, image, **changes, noise_db=NO_NOISE_DB, seed=seed)
        shape = (request.averages, *quiet.kspace.shape)
        noise = white_noise(shape, first.noise_std, generator)
        kspace.append(quiet.mask * (quiet.fully_sampled + noise))
        truth.append(quiet.truth)
    return ScanArrays(
        torch.stack(kspace, dim=1), first.mask, torch.stack(truth), first.noise, first.noise_std
    )


def write_simulation(
    request: ScanRequest, path: Path, truth_path: Path | None = None, *, overwrite: bool = False
) -> ScanArrays:
    """Simulate and write the scan, and the truth if asked for; nothing is left after an error."""
    for target in filter(None, (path, truth_path)):
        check_target(target, overwrite=overwrite)
    arrays = simulate_arrays(request)
    protocol = PROTOCOLS[request.protocol]
    fov = [n * protocol.pixel_mm for n in arrays.truth.shape[-2:]]
    try:
        xml, lines = simulated_scan(
            arrays.kspace,
            arrays.mask,
            fov_mm=(SLICE_MM, *fov),
            oversampling=request.oversampling,
            noise=arrays.noise if request.noise_scan else None,
            labels=ScanLabels(protocol=request.protocol, interleaved=request.interleaved),
        )
    except ValueError as error:
        raise UsageError(f"{request.protocol}: {error}") from None
    _write(path, lambda temporary: write_scan(temporary, xml, lines), overwrite)
    if truth_path is not None:
        _write(truth_path, lambda temporary: _write_truth(temporary, arrays), overwrite)
    return arrays


def _write(path: Path, write, overwrite: bool) -> None:
    temporary = temporary_beside(path)
    try:
        write(temporary)
        publish(temporary, path, overwrite=overwrite)
    finally:
        temporary.unlink(missing_ok=True)


def _write_truth(path: Path, arrays: ScanArrays) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("truth", data=arrays.truth.numpy(), compression="gzip")
        file.create_dataset("mask", data=arrays.mask.numpy())
        file.attrs["noise_std"] = arrays.noise_std


def _protocol(name: str) -> str:
    if name not in PROTOCOLS:
        raise UsageError(f"unknown protocol {name!r}{nearest(name, PROTOCOLS)}")
    return name


def _image(request: ScanRequest, number: int) -> Tensor:
    if not request.image:
        return brain_phantom(PROTOCOLS[request.protocol].hr_shape)
    path, colon, index = request.image.rpartition(":")
    if not colon or not index.isdigit():
        raise UsageError(f"image is {request.image!r}, expected FILE:INDEX")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return load_image(path, int(index) + number)
