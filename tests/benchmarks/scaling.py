"""How the time grows with slices, coils and matrix: one small table each.

`exponent` is the slope in logarithms from the first row to the last: 1 where twice as much takes
twice as long; pixels are counted for the matrix.
"""

import math
import time

import torch

from tests.helpers.synthetic import line_mask, scan

COILS = (4, 8, 16, 32)
SHAPES = ((64, 64), (128, 128), (256, 256))
SLICES = (1, 2, 4, 8)


def tables(best, central, repeat):
    """Yield title and rows ``(n, seconds)``."""
    shape = (128, 128)
    yield (
        "ESPIRiT by coils, 128x128",
        [(n, _espirit(n, shape, best, central, repeat)) for n in COILS],
    )
    rows = [(math.prod(s), _espirit(12, s, best, central, repeat)) for s in SHAPES]
    yield "ESPIRiT by pixels, 12 coils", rows
    rows = [(n, _cg_sense(n, shape, best, repeat)) for n in COILS]
    yield "CG-SENSE by coils, 30 iterations, 128x128", rows
    rows = [(math.prod(s), _cg_sense(12, s, best, repeat)) for s in SHAPES]
    yield "CG-SENSE by pixels, 30 iterations, 12 coils", rows
    yield "slices of jrsr-dc compact", list(_slices())


def lines(title, rows):
    """Return the table of one curve."""
    (n0, t0), (n1, t1) = rows[0], rows[-1]
    slope = math.log(t1 / t0) / math.log(n1 / n0)
    text = [f"{title}: exponent {slope:.2f}", "", "| n | s | ms per n |", "|---|---|---|"]
    return [*text, *(f"| {n} | {t:.3f} | {1e3 * t / n:.4g} |" for n, t in rows), ""]


def _espirit(n_coils, shape, best, central, repeat):
    from jrsr_core import espirit_maps

    acs = central(scan(n_coils, shape)[0])
    return best(lambda: espirit_maps(acs, shape), repeat)


def _cg_sense(n_coils, shape, best, repeat):
    from jrsr_core.physics.sense import SenseOperator
    from jrsr_core.physics.solvers import conjugate_gradient

    kspace, maps, *_ = scan(n_coils, shape)
    sense = SenseOperator(maps[None], line_mask(shape, 2.0))

    def solve():
        with torch.inference_mode():
            rhs = sense.adjoint(kspace[None])
            conjugate_gradient(lambda x: sense.gram(x) + 3e-3 * x, rhs, n_iter=30, tolerance=0.0)

    return best(solve, repeat)


def _slices():
    """Yield the time until so many slices are done, after one that does not count."""
    from jrsr_core.reconstruction.load import load_model
    from jrsr_core.simulation.phantoms import brain_phantom
    from jrsr_core.simulation.protocols import simulate_protocol
    from training.data.testset import as_kspace_slice

    recon = load_model("jrsr-dc", preset="compact", device="cpu")
    slice_ = as_kspace_slice(simulate_protocol("brain-5x", brain_phantom(), n_coils=12))
    recon(slice_)
    start = time.perf_counter()
    for n in range(1, max(SLICES) + 1):
        recon(slice_)
        if n in SLICES:
            yield n, time.perf_counter() - start
