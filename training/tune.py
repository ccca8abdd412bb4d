"""Choose the regularisation and the iterations of CG-SENSE on validation slices.

"Carefully optimized" (paper, section 4.2) holds for the baseline as well: every pair of the grid
is judged by the mean PSNR of CG-SENSE + bicubic and + sinc over the same simulated scans.
"""

from itertools import product
from pathlib import Path

import torch

from jrsr_core.calibration.calibrate import CalibrationSettings, calibrate
from jrsr_core.metrics import psnr
from jrsr_core.models.cg_sense import CgSense
from jrsr_core.models.interpolation import BicubicUpsample, SincUpsample

from .testset import as_kspace_slice, test_slices

LAMBDAS = (0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
ITERATIONS = (5, 10, 15, 30)


@torch.inference_mode()
def tune_cg_sense(data: Path, protocol: str, n_slices: int | None) -> list[dict]:
    """Return mean PSNR per (lambda, iterations), the best for bicubic first."""
    sums: dict[tuple[float, int], list[float]] = {
        k: [0.0, 0.0] for k in product(LAMBDAS, ITERATIONS)
    }
    count = 0
    for test in test_slices(data, protocol, n_slices):
        calibrated = calibrate(as_kspace_slice(test.scan), CalibrationSettings())
        sense = calibrated.sense.at_low_resolution()
        for (regularisation, n_iter), total in sums.items():
            model = CgSense(regularisation=regularisation, n_iter=n_iter)
            low = calibrated.scale * model(calibrated.kspace, sense)
            for i, upsample in enumerate((BicubicUpsample(), SincUpsample())):
                total[i] += float(psnr(upsample(low)[0].abs(), test.scan.truth))
        count += 1
    rows = [
        {"lambda": k[0], "iterations": k[1], "bicubic": v[0] / count, "sinc": v[1] / count}
        for k, v in sums.items()
    ]
    return sorted(rows, key=lambda row: -row["bicubic"])
