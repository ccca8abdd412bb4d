"""How far to seek the fixed point: residuals, and what the image gains.

    python -m tests.benchmarks.equilibrium [--model NAME or CARD] [--data brain_test.h5 --slices 4]

Residual against iterations, Picard and Anderson, on the phantom. With `--data` besides, against the
tolerance, on the scans of the generalisation benchmark: PSNR in dB of x_rec against the fully
sampled LR image and of the HR image (SSIM; iterations).
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from jrsr_core.calibration.calibrate import calibrate
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.metrics.image import psnr, ssim
from jrsr_core.models.fixed_point import FixedPointSettings, solve_fixed_point
from jrsr_core.models.jrsr import JrsrDc
from jrsr_core.models.rec import condition_maps
from jrsr_core.reconstruction.load import load_model
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import simulate_protocol
from training.data.testset import as_kspace_slice, find_slices

from .generalisation import label, scan

ITERATIONS = (1, 2, 4, 6, 8, 10, 15, 20, 30, 50, 100)
TOLERANCES = (3e-4, 1e-3, 3e-3, 5e-3, 1e-2)
CHANGES = (
    {},
    {"acceleration": 4.0},
    {"n_coils": 4},
    {"noise_db": 20.0},
    {"noise_db": 40.0},
    {"mask": "regular", "acceleration": 4.0},
    {"mask": "poisson", "acceleration": 4.0},
)


def residuals(name):
    """Print one row per number of iterations."""
    model = load_model(name).model
    phantom = simulate_protocol("brain-5x", brain_phantom(), n_coils=12)
    calibrated = calibrate(as_kspace_slice(phantom), CalibrationSettings())
    sense = calibrated.sense.at_low_resolution()
    zero_filled = sense.adjoint(calibrated.kspace)
    shape = (zero_filled.shape[-2], zero_filled.shape[-1])
    conditions = None
    if isinstance(model, JrsrDc):
        conditions = condition_maps(calibrated.noise_std, sense, shape)

    def step(x):
        return model.rec.step(x, zero_filled, sense, conditions)

    sys.stdout.write("| iterations | Picard | Anderson |\n|---|---|---|\n")
    for n_iter in ITERATIONS:
        found = []
        for solver in ("picard", "anderson"):
            settings = FixedPointSettings(solver, n_iter=n_iter, tolerance=0.0)
            _, report = solve_fixed_point(step, zero_filled, settings)
            found.append(f"{float(report.residual.max()):.2e}")
        sys.stdout.write(f"| {n_iter} | {' | '.join(found)} |\n")


def judge(recon, made, full, tolerance):
    """PSNR of x_rec, against the magnitude `full`, and of the image, SSIM and iterations."""
    rec = recon.model.rec
    rec.evaluation = replace(rec.evaluation, tolerance=tolerance)
    image = recon(as_kspace_slice(made))
    magnitude = image.magnitude
    return (
        float(psnr(image.low_resolution.abs(), full)),
        float(psnr(magnitude, made.truth)),
        float(ssim(magnitude, made.truth)),
        image.report.iterations,
    )


def tolerances(name, data, n_slices):
    """Print one row per kind of scan."""
    recon, zero_filled = load_model(name), load_model("zero-filled+sinc")
    addresses = find_slices(data, n_slices)
    sys.stdout.write(f"\n| scan | {' | '.join(f'{t:g}' for t in TOLERANCES)} |\n")
    sys.stdout.write("|---" * (len(TOLERANCES) + 1) + "|\n")
    for change in CHANGES:
        scans = [scan(address, **change) for address in addresses]
        full = [zero_filled(as_kspace_slice(made, fully_sampled=True)) for made in scans]
        pairs = [(made, f.low_resolution.abs()) for made, f in zip(scans, full, strict=True)]
        means = [np.mean([judge(recon, *pair, t) for pair in pairs], 0) for t in TOLERANCES]
        cells = [f"{x:.2f} {p:.2f} ({s:.3f}; {n:.0f})" for x, p, s, n in means]
        sys.stdout.write(f"| {change.get('mask', '')} {label(change)} | {' | '.join(cells)} |\n")
        sys.stdout.flush()


@torch.inference_mode()
def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="jrsr-dc")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--slices", type=int, default=4)
    options = parser.parse_args()
    residuals(options.model)
    if options.data is not None:
        tolerances(options.model, options.data, options.slices)


if __name__ == "__main__":
    main()
