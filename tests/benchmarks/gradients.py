"""Ways to differentiate the fixed point: how good the gradient, what it costs.

    python -m tests.benchmarks.gradients [--model NAME or CARD] [--size 128]

The truth is the implicit gradient solved to 1e-7. Columns: cosine with it, ratio of norms, of all
parameters of the reconstruction together; seconds of the backward pass.
"""

import argparse
import sys
import time

import torch
from torch import Tensor

from jrsr_core.models.fixed_point import (
    BackwardSettings,
    FixedPointSettings,
    differentiable,
    solve_fixed_point,
)
from jrsr_core.models.jrsr import JrsrDc
from jrsr_core.models.rec import condition_maps
from jrsr_core.reconstruction.load import load_model
from jrsr_core.simulation.masks import make_mask
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import scan_image
from training.data.manifest import Acquisition
from training.data.scans import calibrate_scan

EXACT = BackwardSettings("implicit", solver=FixedPointSettings(n_iter=300, tolerance=1e-7))
TOLERANCES = (1e-1, 1e-2, 1e-3)


def rows():
    """Return names and settings of the ways compared."""
    named = [("jfb", BackwardSettings("jfb"))]
    named += [(f"neumann, {k} terms", BackwardSettings("neumann", k)) for k in (1, 2, 5, 10, 20)]
    for tolerance in TOLERANCES:
        solver = FixedPointSettings("anderson", 50, tolerance)
        named.append((f"implicit, {tolerance:g}", BackwardSettings("implicit", solver=solver)))
    return named


def gradient(step, point: Tensor, target: Tensor, parameters, settings):
    """Return the flat gradient and the seconds of the backward."""
    out = differentiable(step, point, settings)
    loss = (out - target).abs().mean()
    start = time.perf_counter()
    found = torch.autograd.grad(loss, parameters)
    return torch.cat([g.flatten() for g in found]), time.perf_counter() - start


def main():
    """Print one row per way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="jrsr")
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    model = load_model(options.model).model
    image = brain_phantom((options.size, options.size))
    lr_shape = (options.size // 2, options.size // 2)
    protocol = Acquisition("brain-5x", n_coils=8).fitted(lr_shape)
    mask = make_mask(protocol.mask, lr_shape, protocol.acceleration, n_acs=protocol.n_acs)
    generator = torch.Generator().manual_seed(0)
    scan = calibrate_scan(scan_image(image, protocol, mask, generator))
    sense, zero_filled = scan.sense.at_low_resolution(), scan.zero_filled()
    conditions = None
    if isinstance(model, JrsrDc):
        conditions = condition_maps(scan.noise_std, sense, lr_shape)

    def step(x):
        return model.rec.step(x, zero_filled, sense, conditions)

    with torch.no_grad():
        settings = FixedPointSettings("anderson", n_iter=400, tolerance=1e-7)
        point, report = solve_fixed_point(step, zero_filled, settings)
    parameters = list(model.rec.parameters())
    exact, _ = gradient(step, point, scan.lr_target, parameters, EXACT)
    out = sys.stdout
    out.write(f"fixed point residual {float(report.residual.max()):.1e}\n")
    out.write("| backward | cosine | norm / exact | s |\n|---|---|---|---|\n")
    for name, way in rows():
        found, seconds = gradient(step, point, scan.lr_target, parameters, way)
        cosine = float(torch.nn.functional.cosine_similarity(found, exact, dim=0))
        ratio = float(found.norm() / exact.norm())
        out.write(f"| {name} | {cosine:.4f} | {ratio:.3f} | {seconds:.2f} |\n")
        out.flush()


if __name__ == "__main__":
    main()
