"""Do a network's new frequencies exist? Judged by samples of a real scan that it has not seen.

    python -m tests.benchmarks.held_out scan.npy [--models A,B] [--png out.png]

The file holds measured k-space (coil, ky, kx), zero where nothing was measured, of even size. Its
central half along both axes is the LR scan; what was measured outside is held out. For the image x
of a system and the maps S of the LR scan, over the held-out samples without the power of the noise

    unexplained = (sum |b - F S x|^2 - noise) / (sum |b|^2 - noise)

1 for an image without these frequencies, less if they are right, more if they are wrong. `near` is
the part up to 0.7 of the full extent. The noise is that of the outermost samples.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from gadget.output.pictures.draw import encode_png, grey_picture, montage
from jrsr_core.acs import cut_acs
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.data import KSpaceSlice, SliceGeometry
from jrsr_core.models.phase import smooth_phase
from jrsr_core.physics.fourier import fft2c
from jrsr_core.physics.resolution import crop_or_pad, grid_scale

from .generalisation import load_systems

OUTERMOST, NEAR = 0.9, 0.7


def radius(shape):
    """Distance from the centre, 1 at the ends of either axis."""
    y, x = ((torch.arange(n) - n // 2) / (n / 2) for n in shape)
    return (y[:, None] ** 2 + x[None, :] ** 2).sqrt()


def load_kspace(path):
    """Measured k-space, 100 at its largest sample, and where it was measured."""
    kspace = torch.from_numpy(np.load(path)).to(torch.complex64)
    return 100 * kspace / kspace.abs().max(), (kspace.abs().sum(0) > 0).to(torch.float32)


def outermost_noise(kspace, mask):
    """Noise of a sample, from those where there is little else."""
    where = (mask > 0) & (radius(mask.shape) > OUTERMOST)
    return float(kspace[:, where].abs().square().mean().sqrt())


def low_resolution_scan(kspace, mask, noise_std):
    """The central half of a scan, as the assembler would hand it over."""
    shape = tuple(mask.shape)
    lr_shape = tuple(n // 2 for n in shape)
    scale = grid_scale(lr_shape, shape)
    inner, sampled = scale * crop_or_pad(kspace, lr_shape), crop_or_pad(mask, lr_shape)
    geometry = SliceGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5.0, 200.0, 200.0))
    acs = cut_acs(inner, sampled)
    return KSpaceSlice(inner, sampled, acs, geometry, noise_std=scale * noise_std)


def explain(recon, scan):
    """Magnitude of a system, and the k-space of all coils that it predicts."""
    calibrated = recon.slices.calibrated(scan)
    output = recon.slices.model_output(calibrated)
    image = output.image[0]
    if not image.is_complex():
        image = image * smooth_phase(output.low_resolution, calibrated.sense.image_shape)[1][0]
    predicted = fft2c(calibrated.sense.single_map().csm[0] * image)
    return image.abs(), calibrated.scale * predicted


def unexplained(kspace, predicted, where, noise_std):
    """Part of the measured power that a prediction leaves, noise apart."""
    measured = kspace[:, where]
    noise = noise_std**2 * measured.numel()
    error = (measured - predicted[:, where]).abs().square().sum()
    return float((error - noise) / (measured.abs().square().sum() - noise))


@torch.inference_mode()
def main():
    """Print a row per system."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", type=Path)
    parser.add_argument("--models", default="jrsr,jrsr-dc")
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    kspace, mask = load_kspace(options.scan)
    distance, inner = radius(mask.shape), torch.ones([n // 2 for n in mask.shape])
    held_out = (mask > 0) & (crop_or_pad(inner, tuple(mask.shape)) == 0)
    noise_std = outermost_noise(kspace, mask)
    scan = low_resolution_scan(kspace, mask, noise_std)
    share = float(scan.mask.mean())
    sys.stdout.write(f"LR {tuple(scan.mask.shape)}, {share:.0%} measured, {len(kspace)} coils\n")
    sys.stdout.write("| system | unexplained | near |\n|---|---|---|\n")
    tiles = []
    calibration = CalibrationSettings(len(kspace))
    for name, recon in load_systems(options.models, calibration=calibration).items():
        image, predicted = explain(recon, scan)
        parts = (held_out, held_out & (distance < NEAR))
        found = [unexplained(kspace, predicted, part, noise_std) for part in parts]
        sys.stdout.write(f"| {name} | {found[0]:.3f} | {found[1]:.3f} |\n")
        tiles.append((grey_picture(image.numpy(), float(image.quantile(0.998))), (name,)))
    if options.png:
        options.png.write_bytes(encode_png(montage(tiles)))


if __name__ == "__main__":
    main()
