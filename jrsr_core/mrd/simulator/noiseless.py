"""The object of a simulated scan and its k-space without noise, 2-D slices or a 3-D volume.

Contrast c shows the magnitude of the object to the power 1 + c/2, which stays between 0 and 1.

The readout of a volume has the resolution of the scan, the two phase encodes twice as many pixels
in the truth:

    k-space = FFT_x [ S_x FFT_(y, z) C_x m_x ],   C_x the coils at readout position x.

The coils turn smoothly from one random set into another along the readout. The phantom grows and
fades towards its ends, where there is air.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import torch
from torch import Tensor

from jrsr_core.data import Vector
from jrsr_core.matrix import SR_FACTOR
from jrsr_core.mrd.files.foreign import foreign_name
from jrsr_core.physics.fourier import fft
from jrsr_core.physics.resolution import Shape, crop_or_pad
from jrsr_core.simulation.acquisition import encode, noise_std_for
from jrsr_core.simulation.coils import random_coils
from jrsr_core.simulation.fields import random_phase
from jrsr_core.simulation.image_stack import load_image
from jrsr_core.simulation.masks import make_mask
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import Protocol, simulate_protocol

from .request import REFERENCES, ScanRequest, SimulationError

SLICE_MM = 5.0
TURN = math.pi / 3
"""Angle by which the coils of a volume turn from the first set towards the second."""
NO_ACS = 2
"""Width of the centre of a volume with a reference scan: too small for a kernel."""


@dataclass(frozen=True, eq=False)
class NoiselessScan:
    """The k-space of every slice and contrast without noise, and how it is sampled.

    `kspace` complex64 ``(coil, kz, ky, kx)`` and `truth`, the HR magnitude ``(y, x)`` or in 3-D
    ``(z, y, x)``, are by (slice, contrast); a 2-D slice has kz = 1, a volume is slice 0. `lines`
    are the measured ones, 0/1 ``(kz, ky)``. The noise scan has `n_noise_samples` per coil. The
    fields of view are ``(z, y, x)``.
    """

    kspace: dict[tuple[int, int], Tensor]
    truth: dict[tuple[int, int], Tensor]
    lines: Tensor
    noise_std: float
    n_noise_samples: int
    fov_mm: Vector
    recon_fov_mm: Vector


def noiseless_slices(request: ScanRequest, protocol: Protocol) -> NoiselessScan:
    """Return the slices of a 2-D scan, all on the noise level of the first one."""
    kspace, truth = {}, {}
    for number in range(request.slices):
        image = _object(request, protocol, number)
        shown = protocol.fov_shape(image.shape)
        for contrast in range(request.contrasts):
            acquired = _in_acquired_fov(_contrast(image, contrast), request)
            scan = simulate_protocol(protocol, acquired, seed=request.seed + number)
            kspace[number, contrast] = scan.clean[:, None]
            truth[number, contrast] = crop_or_pad(scan.truth, shown)
    mask = scan.mask
    if request.calibration in REFERENCES:
        shape = (mask.shape[0], mask.shape[1])
        mask = make_mask("regular", shape, whole_acceleration(request, protocol), n_acs=1)
    fov, recon_fov = (
        (SLICE_MM, ny * protocol.pixel_mm, nx * protocol.pixel_mm)
        for ny, nx in (scan.truth.shape, shown)
    )
    return NoiselessScan(
        kspace=kspace,
        truth=truth,
        lines=whole_lines(mask),
        noise_std=noise_std_for(kspace[0, 0], protocol.noise_db),
        n_noise_samples=2048,
        fov_mm=fov,
        recon_fov_mm=recon_fov,
    )


def whole_lines(mask: Tensor) -> Tensor:
    """Return the lines ``(1, ky)`` of a mask ``(ky, kx)``; `ValueError` if they are not whole."""
    if not torch.equal(mask, mask[:, :1].expand_as(mask)):
        raise ValueError("the mask varies along the readout, only a 3-D scan samples like that")
    return mask[:, 0][None]


def whole_acceleration(request: ScanRequest, protocol: Protocol) -> int:
    """Return the acceleration of a regular pattern of lines."""
    factor = int(protocol.acceleration)
    if factor != protocol.acceleration:
        raise SimulationError(
            f"calibration {request.calibration} needs a whole accel, not {protocol.acceleration:g}"
        )
    return factor


def noiseless_volume(request: ScanRequest, protocol: Protocol) -> NoiselessScan:
    """Return the volume of a 3-D scan; y and z are the phase encodes."""
    for name in ("slices", "readout_pixel"):
        if getattr(request, name) != 1:
            raise SimulationError(f"{name} is {getattr(request, name)}, a 3-D scan has 1")
    objects = _object_planes(request, protocol)
    acquired = torch.stack([_in_acquired_fov(plane, request) for plane in objects])
    shape = protocol.fov_shape(acquired.shape[1:])
    ny, nz = protocol.fov_shape(objects.shape[1:])
    volumes = [
        _encode_volume(request, protocol, _contrast(acquired, c)) for c in range(request.contrasts)
    ]
    n_acs = NO_ACS if request.calibration in REFERENCES else protocol.n_acs
    lr_shape = protocol.lr_shape(shape)
    mask = make_mask(protocol.mask, lr_shape, protocol.acceleration, n_acs=n_acs)
    pixel = protocol.pixel_mm
    z_mm, x_mm = nz * pixel, SR_FACTOR * request.positions * pixel
    return NoiselessScan(
        kspace={(0, c): kspace for c, (kspace, _) in enumerate(volumes)},
        truth={
            (0, c): crop_or_pad(m, (ny, nz)).permute(2, 1, 0) for c, (_, m) in enumerate(volumes)
        },
        lines=mask.mT,
        noise_std=noise_std_for(volumes[0][0], protocol.noise_db),
        n_noise_samples=4096,
        fov_mm=(z_mm, shape[0] * pixel, x_mm),
        recon_fov_mm=(z_mm, ny * pixel, x_mm),
    )


def _object_planes(request: ScanRequest, protocol: Protocol) -> Tensor:
    """Magnitudes ``(position, y, z)`` of the volume."""
    n = request.positions
    if request.image:
        return torch.stack([_image_of_file(request.image, i) for i in range(n)])
    position = (torch.arange(n) - n // 2) / (n / 2)
    weight = (1 - (position / 0.8) ** 2).clamp_min(0).sqrt()
    return weight[:, None, None] * brain_phantom(protocol.hr_shape)


def _encode_volume(
    request: ScanRequest, protocol: Protocol, objects: Tensor
) -> tuple[Tensor, Tensor]:
    """K-space ``(coil, kz, ky, kx)`` and the magnitude ``(position, y, z)`` that it shows."""
    n = objects.shape[0]
    shape: Shape = (objects.shape[1], objects.shape[2])
    generator = torch.Generator().manual_seed(request.seed)
    first, second = (random_coils(protocol.n_coils, shape, generator) for _ in range(2))
    phase = random_phase(shape, generator)
    fov_shape = protocol.fov_shape(shape)
    lr_shape = protocol.lr_shape(fov_shape)
    hybrid = torch.empty((n, protocol.n_coils, *lr_shape), dtype=torch.complex64)
    magnitude = torch.empty((n, *fov_shape))
    for x in range(n):
        angle = TURN * x / n
        csm = math.cos(angle) * first + math.sin(angle) * second
        csm = csm / csm.abs().square().sum(0).sqrt().clamp_min(1e-6)
        images = csm * phase * objects[x]
        hybrid[x], _, magnitude[x] = encode(images, objects[x], lr_shape, fov_shape[0])
    return fft(hybrid, 0).permute(1, 3, 2, 0).contiguous(), magnitude


def adapted(request: ScanRequest, protocol: Protocol) -> Protocol:
    """Return the protocol with the numbers of the request."""
    return replace(
        protocol,
        n_coils=request.n_coils or protocol.n_coils,
        mask=request.mask or protocol.mask,
        acceleration=request.acceleration or protocol.acceleration,
        n_acs=request.acs or protocol.n_acs,
        noise_db=protocol.noise_db if request.noise_db is None else request.noise_db,
        hr_shape=request.hr_matrix(protocol.hr_shape),
        readout_pixel=request.readout_pixel,
        phase_fov=request.phase_fov,
    )


def _contrast(magnitude: Tensor, contrast: int) -> Tensor:
    return magnitude ** (1 + contrast / 2)


def _in_acquired_fov(image: Tensor, request: ScanRequest) -> Tensor:
    """Pad an image ``(y, x)``, in 3-D ``(y, z)``, to the oversampled field of view along y."""
    ny, nx = image.shape
    return crop_or_pad(image, (SR_FACTOR * round(ny * request.phase_oversampling / SR_FACTOR), nx))


def _object(request: ScanRequest, protocol: Protocol, number: int) -> Tensor:
    if request.image:
        return _image_of_file(request.image, number)
    return brain_phantom(protocol.hr_shape)


def _image_of_file(name: str, number: int) -> Tensor:
    """Read the image `number` places behind the one named ``FILE:INDEX``."""
    path, colon, index = name.rpartition(":")
    if not colon or not index.isdigit():
        raise SimulationError(f"image is {name!r}, expected FILE:INDEX")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not h5py.is_hdf5(path):
        found = foreign_name(Path(path)) or "no HDF5 file"
        raise SimulationError(
            f"image {path} is {found}, expected an image stack (HDF5): "
            "`jrsr-train images` makes one of NIfTI volumes"
        )
    return load_image(path, int(index) + number)
