"""`jrsr demo`: simulates a scan, reconstructs it and compares it with conventional methods.

The reconstruction gets only the ISMRMRD file; the true image is used for the comparison. Images are
not rescaled: they have the scale of the scan.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gadget.compute.model import make_engine, make_reconstructor
from gadget.console import print_line
from gadget.errors import Exit, UsageError
from gadget.output.options import OutputOptions
from gadget.output.pictures.comparison import draw_comparison
from gadget.output.series.attributes import number_of
from gadget.scan.stages import make_assembler
from gadget.settings import Settings
from jrsr_core.common.atomic import check_target, write_bytes
from jrsr_core.data import KSpaceSlice
from jrsr_core.matrix import hr_shape
from jrsr_core.metrics.image import psnr, ssim
from jrsr_core.mrd.examination.examine import plan_source
from jrsr_core.mrd.files.images import ImageFile
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.grey_values import values_of
from jrsr_core.mrd.images import is_fallback
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import write_simulation
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import sinc_interpolate

from .recon import reconstruct_scan

BASELINE = "cg-sense+bicubic"


@dataclass(frozen=True, eq=False)
class Entry:
    """One column of the picture: magnitude image ``(y, x)`` and time in seconds, if known."""

    name: str
    magnitude: Tensor
    seconds: float | None


def run_demo(folder: Path, settings: Settings, *, overwrite: bool = False) -> Exit:
    """Write scan, truth, images, report and picture into `folder` and print a table of metrics.

    Returns the exit code of the reconstruction, as `reconstruct_scan`.
    """
    names = {k: folder / f"{k}.h5" for k in ("scan", "truth", "images")}
    picture, report = folder / "comparison.png", folder / "report.html"
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, expected a folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*names.values(), picture, report):
        check_target(path, overwrite=overwrite)
    print_line("simulating a 12-coil brain-5x scan of the phantom")
    request = ScanRequest(n_coils=12)
    made = write_simulation(request, names["scan"], names["truth"], overwrite=overwrite)
    truth = made.truth[0]
    with ScanFile(names["scan"]) as scan:
        engine = partial(make_engine, settings, with_maps=True)
        targets = {"mrd": names["images"], "report": report}
        options = OutputOptions(overwrite=overwrite)
        code = reconstruct_scan(scan, settings, targets, engine, options)
        slice_ = next(iter(make_assembler(scan, plan_source(scan.header, scan), settings)))
    if not isinstance(slice_, KSpaceSlice):
        raise TypeError("the simulated scan is not 2-D")
    entries = [*_conventional(slice_, settings), _delivered(names["images"], settings.model)]
    shown = [
        (e.name, "PSNR {} dB, SSIM {}".format(*_scores(e, truth)), e.magnitude.numpy())
        for e in entries
    ]
    write_bytes(picture, draw_comparison(truth.numpy(), shown), overwrite=overwrite)
    rows = [("", "PSNR [dB]", "SSIM", "time [s]")]
    times = ["" if e.seconds is None else f"{e.seconds:.2f}" for e in entries]
    rows += [(e.name, *_scores(e, truth), spent) for e, spent in zip(entries, times, strict=True)]
    width = max(len(e.name) for e in entries)
    for row in rows:
        print_line("{:<{width}}  {:>9}  {:>6}  {:>8}".format(*row, width=width))
    print_line(f"picture: {picture}")
    print_line(f"report: {report}")
    return code


def _conventional(slice_: KSpaceSlice, settings: Settings) -> Iterator[Entry]:
    start = time.perf_counter()
    shape = hr_shape(slice_.lr_shape)
    coils = sinc_interpolate(ifft2c(slice_.kspace), shape)
    zero_filled = coils.abs().square().sum(0).sqrt()
    yield Entry("zero-filled", zero_filled, time.perf_counter() - start)
    recon = make_reconstructor(
        settings.override({"model": BASELINE, "weights": "", "preset": "auto"})
    )
    start = time.perf_counter()
    yield Entry(BASELINE, recon(slice_).magnitude.cpu(), time.perf_counter() - start)


def _delivered(path: Path, model: str) -> Entry:
    """Return the image that was written, which may be a fallback image."""
    with ImageFile(path) as images:
        image = next(i for _, i in images.with_groups() if not i.meta.get("JRSR_map"))
    name = "FALLBACK" if is_fallback(image.meta) else model
    magnitude = np.abs(values_of(image)[0, 0]).astype(np.float32)
    return Entry(name, torch.from_numpy(magnitude), number_of(image.meta.get("JRSR_seconds_total")))


def _scores(entry: Entry, truth: Tensor) -> tuple[str, str]:
    return (
        f"{float(psnr(entry.magnitude, truth)):.2f}",
        f"{float(ssim(entry.magnitude, truth)):.4f}",
    )
