"""How the shipped weights do away from one protocol: acceleration, coils, noise, matrix, mask.

    python -m tests.benchmarks.generalisation --data brain_test.h5 [--slices 8] [--models A,B]

The scan is that of brain-5x (LR 116 x 128, 16 coils, 1-D Gaussian 2.5x, 20 lines of ACS, 30 dB)
with one figure changed at a time. Mean PSNR in dB (SSIM, effective resolution as a share of the HR
Nyquist frequency) of the magnitude against the truth, nothing rescaled. `upper reference` is the
same scan without undersampling, sinc interpolated. `--curves` names the tables wanted. A model may
be LABEL=NAME or LABEL=CARD.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from jrsr_core.metrics.image import psnr, ssim
from jrsr_core.metrics.resolution import effective_resolution
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.reconstruction.load import load_model
from jrsr_core.simulation.image_stack import load_image
from jrsr_core.simulation.protocols import PROTOCOLS, simulate_protocol
from training.data.testset import as_kspace_slice, find_slices
from training.data.variety.vary import coarser_pixels
from training.evaluation.evaluate import names_by_label

START = {"n_coils": 16, "acceleration": 2.5, "mask": "gaussian", "n_acs": 20, "noise_db": 30.0}
CURVES = {
    "acceleration, Gaussian": [
        {"mask": "full", "acceleration": 1.0},
        *({"acceleration": r} for r in (1.5, 2.0, 2.5, 3.0, 4.0, 5.0)),
    ],
    "acceleration, regular": [{"mask": "regular", "acceleration": r} for r in (2, 3, 4, 6)],
    "coils": [{"n_coils": n} for n in (1, 2, 4, 8, 16, 32, 64)],
    "noise": [{"noise_db": db} for db in (10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0)],
    "LR matrix": [
        {"size": size} for size in ((64, 64), (96, 96), (116, 128), (120, 160), (256, 256))
    ],
    "calibration lines": [{"n_acs": n} for n in (12, 16, 24, 32, 40)],
    # At 40 dB: next to nothing is measured outside the calibration lines.
    "lines outside the calibration lines": [{"n_outside": n} for n in (2, 4, 8, 16)],
    # Heads take up to 0.75 of it: in the last two they are folded over.
    "field of view along y": [{"phase_fov": f} for f in (1.0, 0.75, 0.6, 0.5)],
    "2-D masks": [{"mask": "poisson", "acceleration": r} for r in (2.0, 4.0)],
}
FLOOR, UPPER_REFERENCE = "cg-sense+sinc", "upper reference"


def sized(image, lr_shape):
    """Bring an image to twice `lr_shape`: larger pixels where it shrinks, more air around it."""
    shape = tuple(2 * n for n in lr_shape)
    zoom = max(n / m for n, m in zip(image.shape, shape, strict=True))
    image = coarser_pixels(image, zoom) if zoom > 1 else image
    return crop_or_pad(image, shape).contiguous()


def scan(address, size=None, phase_fov=1.0, n_outside=None, **changes):
    """One scan of a slice; `n_outside` lines lie outside the calibration lines."""
    image = load_image(address.path, address.index)
    image = sized(image, size or (116, 128))
    if n_outside is not None:
        n_lines = START["n_acs"] + n_outside
        changes |= {"acceleration": image.shape[0] / 2 / n_lines, "noise_db": 40.0}
    protocol = replace(PROTOCOLS["brain-5x"], phase_fov=phase_fov)
    return simulate_protocol(protocol, image, **(START | changes), seed=address.index)


def label(change):
    """What is changed, in words."""
    return ", ".join(f"{k} {v}" for k, v in change.items() if k != "mask") or "none"


def load_systems(models, **settings):
    """Systems of a comma-separated list by label, `FLOOR` first; contradictions are judged."""
    names = names_by_label(dict.fromkeys([FLOOR, *models.split(",")]))
    return {
        label: load_model(name, accept_contradictions=True, **settings)
        for label, name in names.items()
    }


def judge(scans, recons):
    """Mean PSNR, SSIM, resolution of all systems and the upper reference, `FLOOR` fully sampled."""
    scores = {name: [] for name in (*recons, UPPER_REFERENCE)}
    for made in scans:
        for name in scores:
            recon = recons[FLOOR] if name == UPPER_REFERENCE else recons[name]
            image = recon(as_kspace_slice(made, fully_sampled=name == UPPER_REFERENCE)).magnitude
            figures = [f(image, made.truth) for f in (psnr, ssim, effective_resolution)]
            scores[name].append([float(figure) for figure in figures])
    return {name: np.mean(values, 0) for name, values in scores.items()}


def cell(figures):
    """PSNR (SSIM, resolution)."""
    return "{:.2f} ({:.3f}, {:.2f})".format(*figures)


def cells_above_floor(means):
    """Cells of a table: PSNR (SSIM, resolution), and PSNR above `FLOOR`."""
    floor = means[FLOOR][0]
    return [f"{cell(figures)}, {figures[0] - floor:+.2f}" for figures in means.values()]


@torch.inference_mode()
def main():
    """Print one table per figure that is changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--models", default="cg-sense+sinc,jrsr,jrsr-dc")
    parser.add_argument("--curves", nargs="+", choices=CURVES, default=list(CURVES))
    options = parser.parse_args()
    recons = load_systems(options.models)
    addresses = find_slices(options.data, options.slices)
    for curve in options.curves:
        sys.stdout.write(f"\n| {curve} | {' | '.join([*recons, UPPER_REFERENCE])} |\n")
        sys.stdout.write("|---" * (len(recons) + 2) + "|\n")
        for change in CURVES[curve]:
            means = judge((scan(address, **change) for address in addresses), recons)
            cells = [cell(figures) for figures in means.values()]
            sys.stdout.write(f"| {label(change)} | {' | '.join(cells)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
