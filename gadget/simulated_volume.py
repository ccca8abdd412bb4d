"""The 3-D object of `jrsr simulate`: a phantom or a stack of images along the readout.

    k-space = FFT_x [ S_x FFT_(y, z) C_x m_x ],   C_x the coils at readout position x

The readout has the resolution of the scan; the two phase encodes have twice as many pixels in the
truth. Coils turn smoothly from one random set into another along the readout, and the phantom
grows and fades towards its ends, where there is air.
"""

import math

import torch
from torch import Tensor

from jrsr_core.geometry import Counters
from jrsr_core.mrd.simulated_frames import make_frame
from jrsr_core.physics.fourier import fft, fft2c
from jrsr_core.simulation.acquisition import noise_std_for, to_low_resolution, white_noise
from jrsr_core.simulation.coils import random_coils
from jrsr_core.simulation.fields import random_phase
from jrsr_core.simulation.masks import make_mask
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import Protocol, load_image

from .errors import UsageError
from .scan_request import ScanRequest
from .simulated_object import SEPARATE, Simulation, adapted, with_calibration, with_deaf_coils

N_NOISE_SAMPLES = 4096
TURN = math.pi / 3
NO_ACS = 2
"""Width of the centre where a reference scan calibrates: too small for a kernel."""


def simulate_volume(request: ScanRequest, protocol: Protocol) -> Simulation:
    """Simulate a 3-D scan: y and z are the phase encodes."""
    _check(request)
    protocol = adapted(request, protocol)
    objects = _objects(request, protocol)
    hr_shape = (objects.shape[1], objects.shape[2])
    lr_shape = protocol.lr_shape(hr_shape)
    clean = _clean_kspace(request, protocol, objects)
    std = noise_std_for(clean.flatten(1, 2), protocol.noise_db)
    clean = with_deaf_coils(clean, request.deaf_coils)
    n_acs = NO_ACS if request.calibration in SEPARATE else protocol.n_acs
    mask = make_mask(protocol.mask, lr_shape, protocol.acceleration, n_acs=n_acs)
    generator = torch.Generator().manual_seed(request.seed + 1)
    frames = []
    flagged = request.calibration == "embedded"
    for average in range(request.averages):
        noisy = clean + white_noise(tuple(clean.shape), std, generator)
        frames.append(make_frame(Counters(average=average), noisy, mask.mT, flagged=flagged))
    ny, nz = (n * protocol.pixel_mm for n in hr_shape)
    fov = (nz, ny, request.positions * 2 * protocol.pixel_mm)
    return Simulation(
        frames=with_calibration(frames, request, protocol),
        truth=objects.permute(2, 1, 0).contiguous(),
        mask=mask,
        noise=white_noise((clean.shape[0], N_NOISE_SAMPLES), std, generator),
        noise_std=std,
        fov_mm=fov,
        recon_fov_mm=fov,
    )


def _check(request: ScanRequest) -> None:
    for name in ("slices", "contrasts", "phases", "repetitions", "sets", "phase_oversampling", "readout_pixel"):
        if getattr(request, name) != 1:
            raise UsageError(f"{name} is {getattr(request, name)}, a 3-D scan is written with 1")


def _objects(request: ScanRequest, protocol: Protocol) -> Tensor:
    """Magnitudes ``(position, y, z)``."""
    n = request.positions
    if request.image:
        path, colon, index = request.image.rpartition(":")
        if not colon or not index.isdigit():
            raise UsageError(f"image is {request.image!r}, expected FILE:INDEX")
        return torch.stack([load_image(path, int(index) + i) for i in range(n)])
    phantom = brain_phantom(protocol.hr_shape)
    place = (torch.arange(n) - n // 2) / (n / 2)
    weight = (1 - (place / 0.8) ** 2).clamp_min(0).sqrt()
    return weight[:, None, None] * phantom


def _clean_kspace(request: ScanRequest, protocol: Protocol, objects: Tensor) -> Tensor:
    """Noiseless k-space ``(coil, kz, ky, kx)``, one readout position at a time."""
    n, *hr_shape = objects.shape
    generator = torch.Generator().manual_seed(request.seed)
    shape = (hr_shape[0], hr_shape[1])
    one, other = (random_coils(protocol.n_coils, shape, generator) for _ in range(2))
    phase = random_phase(shape, generator)
    lr_shape = protocol.lr_shape(shape)
    hybrid = torch.empty((n, protocol.n_coils, *lr_shape), dtype=torch.complex64)
    for x in range(n):
        angle = TURN * x / n
        csm = math.cos(angle) * one + math.sin(angle) * other
        csm = csm / csm.abs().square().sum(0).sqrt().clamp_min(1e-6)
        hybrid[x] = to_low_resolution(fft2c(csm * phase * objects[x]), lr_shape)
    return fft(hybrid, 0).permute(1, 3, 2, 0).contiguous()
