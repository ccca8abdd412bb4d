"""How much fine detail images have, and how much of it is that of the truth.

    python -m tests.benchmarks.detail_power --data brain_test.h5 --models A,B [--slices 12]

Scans by brain-5x. Detail is the part of HR k-space where the larger of |kx| and |ky|, in units of
the HR Nyquist frequency, lies in a shell beyond 0.5, the edge of a 2-D scan at half the resolution.
Per shell: the power of the image over that of the truth, and the correlation of both. Detail that
was invented has power, but no correlation. A model may be LABEL=NAME or LABEL=CARD.
"""

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import torch

from jrsr_core.physics.fourier import fft2c
from training.data.testset import as_kspace_slice, find_slices, scan_slice

from .generalisation import load_systems

EDGES = (0.5, 0.7, 0.9, 1.0)
SHELLS = tuple(pairwise(EDGES))


def shells(shape):
    """One mask per shell."""
    y, x = ((torch.arange(n) - n // 2).abs() / (n / 2) for n in shape)
    larger = torch.maximum(y[:, None], x[None])
    return [(larger >= low) & ((larger < high) | (high == EDGES[-1])) for low, high in SHELLS]


def power_and_correlation(image, truth):
    """Power relative to the truth and correlation with it, float64 ``(shell, 2)``."""
    x, t = fft2c(image.double()), fft2c(truth.double())
    rows = []
    for shell in shells(truth.shape):
        in_x, in_t = x[shell], t[shell]
        power_x, power_t = in_x.abs().square().sum(), in_t.abs().square().sum()
        cross = (in_x * in_t.conj()).real.sum()
        least = torch.finfo(power_x.dtype).tiny
        rows.append([power_x / power_t, cross / (power_x * power_t).sqrt().clamp_min(least)])
    return torch.tensor(rows, dtype=torch.float64)


@torch.inference_mode()
def main():
    """Print one row per model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", default="jrsr,jrsr-dc")
    parser.add_argument("--slices", type=int, default=12)
    options = parser.parse_args()
    recons = load_systems(options.models)
    addresses = find_slices(options.data, options.slices)
    scans = [scan_slice(address, "brain-5x").scan for address in addresses]
    names = [f"{low:g} to {high:g}" for low, high in SHELLS]
    sys.stdout.write(f"| power, correlation | {' | '.join(names)} |\n" + "|---" * 4 + "|\n")
    for label, recon in recons.items():
        made = [(recon(as_kspace_slice(scan)).magnitude, scan.truth) for scan in scans]
        means = torch.stack([power_and_correlation(*pair) for pair in made]).mean(0).tolist()
        cells = " | ".join(f"{power:.2f}, {correlation:.2f}" for power, correlation in means)
        sys.stdout.write(f"| {label} | {cells} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
