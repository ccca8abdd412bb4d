"""Choose the regularisation and the iterations of CG-SENSE on validation slices.

The paper's baselines are "carefully optimized" (section 4.2), and so is ours: every pair of the
grid is judged by the mean PSNR of CG-SENSE + bicubic and + sinc over the same simulated scans.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from jrsr_core.calibration.calibrate import calibrate
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.common.atomic import write_bytes
from jrsr_core.metrics.image import psnr
from jrsr_core.models.cg_sense import CgSense
from jrsr_core.models.interpolation import BicubicUpsample, SincUpsample
from jrsr_core.physics.sense import SenseOperator
from training.config import RunConfig
from training.data.loading.batches import open_data, validation_scans
from training.data.testset import as_kspace_slice, find_slices, scan_slice
from training.errors import UsageError

from .budget import Stopwatch
from .log import Row, RunLog

Case = tuple[Tensor, SenseOperator, float, Tensor]
"""k-space, LR operator, scale of the image, HR truth ``(y, x)``."""

LAMBDAS = (0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
ITERATIONS = (5, 10, 15, 30)
TUNED = ("cg-sense+bicubic", "cg-sense+sinc")


@torch.inference_mode()
def grid_search(cases: Iterable[Case]) -> list[Row]:
    """Return mean PSNR per (lambda, iterations), the best for bicubic first."""
    sums: dict[tuple[float, int], list[float]] = {
        k: [0.0, 0.0] for k in product(LAMBDAS, ITERATIONS)
    }
    count = 0
    for kspace, sense, scale, truth in cases:
        for (regularisation, n_iter), total in sums.items():
            model = CgSense(regularisation=regularisation, n_iter=n_iter)
            low = scale * model(kspace, sense)
            for i, upsample in enumerate((BicubicUpsample(), SincUpsample())):
                total[i] += float(psnr(upsample(low)[0].abs(), truth))
        count += 1
    if not count:
        raise ValueError("no validation scans to choose on")
    rows = [
        {"lambda": k[0], "iterations": k[1], "bicubic": v[0] / count, "sinc": v[1] / count}
        for k, v in sums.items()
    ]
    return sorted(rows, key=lambda row: -row["bicubic"])


def tune_cg_sense(data: Path, protocol: str, n_slices: int | None) -> list[Row]:
    """Return the rows of `grid_search` on simulated scans of an image file."""

    def cases() -> Iterator[Case]:
        for address in find_slices(data, n_slices):
            scan = scan_slice(address, protocol).scan
            calibrated = calibrate(as_kspace_slice(scan), CalibrationSettings())
            sense = calibrated.sense.at_low_resolution()
            yield calibrated.kspace, sense, calibrated.scale, scan.truth

    return grid_search(cases())


def fit(
    config: RunConfig,
    on_row: Callable[[Row], None] | None = None,
    watch: Stopwatch | None = None,
) -> list[Row]:
    """Search on the validation scans of a recipe and return the rows, best first.

    They are written to `OUT/tuned.json`; `on_row` is called with the best one. The grid is searched
    in full whatever `watch` says.

    Raises
    ------
    ValueError
        The system is not CG-SENSE with an interpolation, or there are no validation scans.
    """
    if config.model not in TUNED:
        raise UsageError(f"tune is for {', '.join(TUNED)}, not {config.model}")
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    folder, manifest = open_data(config)
    scans = (scan.with_one_map() for _, scan in validation_scans(config, folder, manifest))
    rows = grid_search(
        (scan.kspace, scan.sense.at_low_resolution(), 1.0, scan.target[0].abs()) for scan in scans
    )
    column = config.model.removeprefix("cg-sense+")
    rows = sorted(rows, key=lambda row: -row[column])
    write_bytes(out / "tuned.json", json.dumps(rows, indent=1).encode(), overwrite=True)
    RunLog(out, 0, tensorboard=False, on_row=on_row).write({"step": 1, **rows[0]})
    return rows
