"""Residual of the fixed point against iterations, Picard and Anderson, shipped weights.

python -m tests.benchmarks.equilibrium [--model jrsr-dc]
"""

import argparse
import sys

import torch

from jrsr_core.calibration.calibrate import CalibrationSettings, calibrate
from jrsr_core.models.fixed_point import FixedPointSettings, solve_fixed_point
from jrsr_core.models.rec import condition_maps
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import simulate_protocol
from jrsr_core.weights import find_card, load_weights
from training.testset import as_kspace_slice

ITERATIONS = (1, 2, 4, 6, 8, 10, 15, 20, 30, 50, 100)


@torch.inference_mode()
def main():
    """Print one row per number of iterations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="jrsr-dc")
    options = parser.parse_args()
    model, _ = load_weights(find_card(options.model))
    scan = simulate_protocol("brain-5x", brain_phantom(), n_coils=12)
    calibrated = calibrate(as_kspace_slice(scan), CalibrationSettings())
    sense = calibrated.sense.at_low_resolution()
    zero_filled = sense.adjoint(calibrated.kspace)
    shape = (zero_filled.shape[-2], zero_filled.shape[-1])
    conditions = None
    if options.model == "jrsr-dc":
        conditions = condition_maps(calibrated.noise_std, sense, shape)

    def step(x):
        return model.rec.step(x, zero_filled, sense, conditions)

    sys.stdout.write("| iterations | Picard | Anderson |\n|---|---|---|\n")
    for n_iter in ITERATIONS:
        residuals = []
        for solver in ("picard", "anderson"):
            settings = FixedPointSettings(solver, n_iter=n_iter, tolerance=0.0)
            _, report = solve_fixed_point(step, zero_filled, settings)
            residuals.append(f"{float(report.residual.max()):.2e}")
        sys.stdout.write(f"| {n_iter} | {' | '.join(residuals)} |\n")


if __name__ == "__main__":
    main()
