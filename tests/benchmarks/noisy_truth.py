"""Quality against a truth that is as noisy as the scan, as every fully sampled real scan is.

    python -m tests.benchmarks.noisy_truth --data brain_test.h5 [--slices 6] [--models A,B]

HR k-space gets noise once; its centre, undersampled, is the scan (brain-5x with 8 coils), and all
of it, combined with the true maps, the truth. PSNR in dB (SSIM, resolution) against that truth, and
PSNR above cg-sense+sinc. `upper reference` is the scan without undersampling, sinc interpolated.
"""

import argparse
import sys
from pathlib import Path

import torch

from jrsr_core.physics.fourier import fft2c, ifft2c
from jrsr_core.physics.resolution import grid_scale
from jrsr_core.simulation.acquisition import (
    SimulatedSlice,
    noise_std_for,
    to_low_resolution,
    white_noise,
)
from jrsr_core.simulation.coils import random_coils
from jrsr_core.simulation.fields import random_phase
from jrsr_core.simulation.image_stack import load_image
from jrsr_core.simulation.masks import make_mask
from training.data.testset import find_slices

from .generalisation import UPPER_REFERENCE, cells_above_floor, judge, load_systems

LEVELS = (20, 24, 30)
N_COILS = 8
LR_SHAPE = (116, 128)


def noisy_scan(address, noise_db):
    """One scan of a slice, its truth the noisy HR image."""
    image = load_image(address.path, address.index)
    generator = torch.Generator().manual_seed(address.index)
    csm = random_coils(N_COILS, image.shape, generator)
    clean = fft2c(csm * (image * random_phase(image.shape, generator)))
    std = noise_std_for(to_low_resolution(clean, LR_SHAPE), noise_db)
    noise = white_noise(clean.shape, std / grid_scale(LR_SHAPE, image.shape), generator)
    full = to_low_resolution(clean + noise, LR_SHAPE)
    energy = csm.abs().square().sum(0).clamp_min(1e-6)
    truth = (csm.conj() * ifft2c(clean + noise)).sum(0).abs() / energy
    mask = make_mask("gaussian", LR_SHAPE, 2.5, n_acs=24)
    return SimulatedSlice(
        mask=mask,
        fully_sampled=full,
        clean=to_low_resolution(clean, LR_SHAPE),
        coil_images=ifft2c(clean + noise),
        noise_std=std,
        truth=truth,
        csm=csm,
    )


@torch.inference_mode()
def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=6)
    parser.add_argument("--models", default="jrsr,jrsr-dc")
    options = parser.parse_args()
    recons = load_systems(options.models)
    addresses = find_slices(options.data, options.slices)
    sys.stdout.write(f"| noise [dB] | {' | '.join([*recons, UPPER_REFERENCE])} |\n")
    sys.stdout.write("|---" * (len(recons) + 2) + "|\n")
    for level in LEVELS:
        means = judge((noisy_scan(a, level) for a in addresses), recons)
        sys.stdout.write(f"| {level} | {' | '.join(cells_above_floor(means))} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
