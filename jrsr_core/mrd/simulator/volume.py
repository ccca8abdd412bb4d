"""The 3-D object of `jrsr simulate`: a phantom or a stack of images along the readout.

    k-space = FFT_x [ S_x FFT_(y, z) C_x m_x ],   C_x the coils at readout position x

The readout has the resolution of the scan; the two phase encodes have twice as many pixels in the
truth. Coils turn smoothly from one random set into another along the readout, and the phantom
grows and fades towards its ends, where there is air.
"""

import math

import torch
from torch import Tensor

from jrsr_core.physics.fourier import fft, fft2c
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.simulation.acquisition import noise_std_for, seen_in, to_low_resolution, white_noise
from jrsr_core.simulation.coils import random_coils
from jrsr_core.simulation.fields import random_phase
from jrsr_core.simulation.masks import make_mask
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import Protocol

from .frames import make_frame
from .request import REFERENCES, ScanRequest, SimulationError
from .slices import (
    Simulation,
    adapted,
    image_counters,
    oversampled,
    requested_image,
    shown,
    with_calibration,
    with_deaf_coils,
)

N_NOISE_SAMPLES = 4096
TURN = math.pi / 3
NO_ACS = 2
"""Width of the centre where a reference scan calibrates: too small for a kernel."""


def simulate_volume(request: ScanRequest, protocol: Protocol) -> Simulation:
    """Simulate a 3-D scan: y and z are the phase encodes."""
    _check(request)
    protocol = adapted(request, protocol)
    wanted = _objects(request, protocol)
    objects = torch.stack([oversampled(plane, request) for plane in wanted])
    acquired = protocol.seen_shape((objects.shape[1], objects.shape[2]))
    seen = protocol.seen_shape((wanted.shape[1], wanted.shape[2]))
    made = [_clean_kspace(request, protocol, shown(objects, c)) for c in range(request.contrasts)]
    quiet = {c: kspace for c, (kspace, _) in enumerate(made)}
    std = noise_std_for(quiet[0].flatten(1, 2), protocol.noise_db)
    quiet = {c: with_deaf_coils(kspace, request.deaf_coils) for c, kspace in quiet.items()}
    n_acs = NO_ACS if request.calibration in REFERENCES else protocol.n_acs
    lr_shape = protocol.lr_shape(acquired)
    mask = make_mask(protocol.mask, lr_shape, protocol.acceleration, n_acs=n_acs)
    generator = torch.Generator().manual_seed(request.seed + 1)
    frames, truth = [], []
    flagged = request.calibration == "embedded"
    for counters in image_counters(request):
        clean = quiet[counters.contrast]
        noisy = clean + white_noise(tuple(clean.shape), std, generator)
        frames.append(make_frame(counters, noisy, mask.mT, flagged=flagged))
        if counters.average == 0:
            truth.append(crop_or_pad(made[counters.contrast][1], seen).permute(2, 1, 0))
    nx, ny, nz = (n * protocol.pixel_mm for n in (2 * request.positions, *seen))
    return Simulation(
        frames=with_calibration(frames, request, protocol),
        truth=torch.stack(truth),
        mask=mask,
        noise=white_noise((quiet[0].shape[0], N_NOISE_SAMPLES), std, generator),
        noise_std=std,
        fov_mm=(nz, acquired[0] * protocol.pixel_mm, nx),
        recon_fov_mm=(nz, ny, nx),
    )


def _check(request: ScanRequest) -> None:
    for name in ("slices", "readout_pixel"):
        if getattr(request, name) != 1:
            raise SimulationError(
                f"{name} is {getattr(request, name)}, a 3-D scan is written with 1"
            )


def _objects(request: ScanRequest, protocol: Protocol) -> Tensor:
    """Magnitudes ``(position, y, z)``."""
    n = request.positions
    if request.image:
        return torch.stack([requested_image(request, i) for i in range(n)])
    phantom = brain_phantom(protocol.hr_shape)
    place = (torch.arange(n) - n // 2) / (n / 2)
    weight = (1 - (place / 0.8) ** 2).clamp_min(0).sqrt()
    return weight[:, None, None] * phantom


def _clean_kspace(
    request: ScanRequest, protocol: Protocol, objects: Tensor
) -> tuple[Tensor, Tensor]:
    """Noiseless k-space ``(coil, kz, ky, kx)``, and the magnitude ``(position, y, z)`` it shows."""
    n, *hr_shape = objects.shape
    generator = torch.Generator().manual_seed(request.seed)
    shape = (hr_shape[0], hr_shape[1])
    one, other = (random_coils(protocol.n_coils, shape, generator) for _ in range(2))
    phase = random_phase(shape, generator)
    seen = protocol.seen_shape(shape)
    lr_shape = protocol.lr_shape(seen)
    hybrid = torch.empty((n, protocol.n_coils, *lr_shape), dtype=torch.complex64)
    magnitude = torch.empty((n, *seen))
    for x in range(n):
        angle = TURN * x / n
        csm = math.cos(angle) * one + math.sin(angle) * other
        csm = csm / csm.abs().square().sum(0).sqrt().clamp_min(1e-6)
        images, magnitude[x] = seen_in(csm * phase * objects[x], objects[x], seen[0])
        hybrid[x] = to_low_resolution(fft2c(images), lr_shape)
    return fft(hybrid, 0).permute(1, 3, 2, 0).contiguous(), magnitude
