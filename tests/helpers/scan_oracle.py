"""k-space of a simulated scan that never was a line: what assembly has to arrive at."""

from dataclasses import replace

import numpy as np
import torch

from jrsr_core.acs import cut_acs
from jrsr_core.data import KSpaceSlice, KSpaceVolume, SliceGeometry
from jrsr_core.physics.fourier import ifft
from jrsr_core.physics.resolution import crop_or_pad

GEOMETRY = SliceGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5, 200, 200))


def sampled(frame, request):
    """Mask ``(kz, ky)`` of a frame, its partial Fourier included."""
    mask = frame.mask.clone()
    for axis, fraction in enumerate((request.partial_slice_fourier, request.partial_fourier)):
        n = mask.shape[axis]
        mask.narrow(axis, 0, n - round(fraction * n)).zero_()
    return mask


def echo(request, nx):
    """Measured samples of the LR readout."""
    n = 2 * nx if request.oversampling else nx
    missing = n - round(request.partial_echo * n)
    first = -((n // 2 - missing) // (n // nx)) + nx // 2
    return (torch.arange(nx) >= first).to(torch.float32)


def whitened(made, kspace):
    """The coils ``(coil, ...)`` decorrelated by numpy, on the scale of the scan."""
    noise = made.noise.numpy().astype(np.complex128)
    covariance = noise @ noise.conj().T / noise.shape[1]
    matrix = np.sqrt(np.trace(covariance).real / len(noise)) * np.linalg.inv(
        np.linalg.cholesky(covariance)
    )
    mixed = np.einsum("ij,j...->i...", matrix, kspace.numpy())
    return torch.from_numpy(mixed.astype(np.complex64))


def averaged(made, request, counters):
    """k-space ``(coil, kz, ky, kx)`` and mask ``(kz, ky)`` of one image."""
    frames = [
        f for f in made.frames if not f.reference and replace(f.counters, average=0) == counters
    ]
    assert len(frames) == request.averages
    kspace = whitened(made, torch.stack([f.kspace for f in frames]).mean(0))
    return kspace, sampled(frames[0], request)


def reference(made, counters):
    frames = [f for f in made.frames if f.reference and f.counters.slice == counters.slice]
    return whitened(made, frames[0].kspace) if frames else None


def slice_oracle(made, request, counters):
    kspace, lines = averaged(made, request, counters)
    mask = lines[0][:, None] * echo(request, kspace.shape[-1])
    kspace = mask * kspace[:, 0]
    acs = reference(made, counters)
    if acs is not None:
        acs = acs[:, 0]
    elif request.calibration == "interleaved":
        parts = [averaged(made, request, replace(counters, repetition=r)) for r in range(2)]
        counts = sum(m[0] for _, m in parts)
        total = sum(m[0][:, None] * k[:, 0] for k, m in parts) * echo(request, kspace.shape[-1])
        union = (counts > 0)[:, None] * echo(request, kspace.shape[-1])
        acs = cut_acs(total / counts.clamp_min(1)[:, None], union, (40, 1000))
    else:
        acs = cut_acs(kspace, mask)
    std = made.noise_std / request.averages**0.5
    if request.readout_pixel == 1:
        return KSpaceSlice(kspace, mask, acs, GEOMETRY, counters, noise_std=std)
    # Half of the samples are the LR grid, whose image has the same scale.
    n_lr = kspace.shape[-1] // 2
    kspace, acs, std = (x / 2**0.5 for x in (kspace, acs, std))
    return KSpaceSlice(kspace, mask, acs, GEOMETRY, counters, noise_std=std, lr_readout=n_lr)


def volume_oracle(made, request, counters):
    kspace, lines = averaged(made, request, counters)
    nx = kspace.shape[-1]

    def to_hybrid(kspace):
        return ifft(echo(request, nx) * lines[..., None] * kspace, -1).permute(3, 0, 2, 1)

    acs = reference(made, counters)
    if acs is not None:
        acs = ifft(crop_or_pad(acs, (nx,)), -1).permute(3, 0, 2, 1)
    else:
        first, _ = averaged(made, request, replace(counters, contrast=0))
        acs = cut_acs(to_hybrid(first), lines.mT, (40, 40))
    measured = float(echo(request, nx).mean())
    std = made.noise_std * (measured / request.averages) ** 0.5
    noise = {"noise_std": std, "acs_noise_std": made.noise_std}
    geometry = replace(GEOMETRY, fov_mm=made.fov_mm)
    return KSpaceVolume(to_hybrid(kspace), lines.mT, acs, geometry, counters, **noise)
