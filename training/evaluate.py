"""Every system on every test slice of a protocol: one CSV row per slice, resumable.

The slice is scanned by the protocol (coils, phase and noise drawn from its index, one mask for
all), then reconstructed by the same `Reconstructor` as at the scanner. PSNR and SSIM on the
magnitude against the HR slice, MAX its maximum; nothing is cropped or rescaled.
"""

import csv
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from jrsr_core.calibration.acs import cut_acs
from jrsr_core.geometry import KSpaceSlice, SliceGeometry
from jrsr_core.metrics import nmse, psnr, ssim
from jrsr_core.pipeline import Reconstructor, load_reconstructor
from jrsr_core.simulation.acquisition import SimulatedScan
from jrsr_core.simulation.protocols import load_image, simulate_protocol

COLUMNS = (
    "model",
    "protocol",
    "subject",
    "slice",
    "psnr",
    "ssim",
    "nmse",
    "kspace_residual",
    "fixed_point_residual",
    "iterations",
    "seconds_calibration",
    "seconds_rec",
    "seconds_sr",
    "seconds_consistency",
    "seconds_total",
    "weights_sha256",
    "commit",
)
BOUND = "fully-sampled-lr+sinc"


@dataclass(frozen=True)
class TestSlice:
    """One slice of the test file: its index, subject, and simulated scan."""

    __test__ = False  # not a pytest class

    index: int
    subject: str
    scan: SimulatedScan


def spread(n_total: int, n_wanted: int | None) -> list[int]:
    """Return indices of `n_wanted` slices spread evenly over `n_total`; all where None."""
    if n_wanted is None or n_wanted >= n_total:
        return list(range(n_total))
    return [int(i) for i in np.linspace(0, n_total - 1, n_wanted).round()]


def test_slices(path: Path, protocol: str, n_slices: int | None) -> Iterator[TestSlice]:
    """Yield the scans of a file with the data set ``slices``."""
    import h5py

    with h5py.File(path, "r") as file:
        n_total = file["slices"].shape[0]
        subjects = [s.decode() for s in file["subject"][:]] if "subject" in file else None
    for index in spread(n_total, n_slices):
        scan = simulate_protocol(protocol, load_image(path, index), seed=index)
        yield TestSlice(index, subjects[index] if subjects else "", scan)


def as_kspace_slice(scan: SimulatedScan, *, fully_sampled: bool = False) -> KSpaceSlice:
    """Return what the assembler would hand over for a simulated scan with a noise scan."""
    mask = torch.ones_like(scan.mask) if fully_sampled else scan.mask
    kspace = scan.fully_sampled if fully_sampled else scan.kspace
    geometry = SliceGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5.0, 200.0, 200.0))
    return KSpaceSlice(kspace, mask, cut_acs(kspace, scan.mask), geometry, noise_std=scan.noise_std)


def current_commit() -> str:
    """Short hash of the checkout, with "+" if it has changes; empty outside a checkout."""
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return run.stdout.strip()


def evaluate_slice(name: str, reconstruct: Reconstructor, test: TestSlice) -> dict:
    """Return the row of one system on one slice."""
    image = reconstruct(as_kspace_slice(test.scan, fully_sampled=name == BOUND))
    magnitude, truth, report = image.magnitude, test.scan.truth, image.report
    return {
        "model": name,
        "subject": test.subject,
        "slice": test.index,
        "psnr": f"{float(psnr(magnitude, truth)):.4f}",
        "ssim": f"{float(ssim(magnitude, truth)):.5f}",
        "nmse": f"{float(nmse(magnitude, truth)):.6f}",
        "kspace_residual": f"{report.kspace_residual:.5f}",
        "fixed_point_residual": f"{report.fixed_point_residual:.6f}",
        "iterations": report.iterations,
        "weights_sha256": report.weights_sha256[:12],
        **{f"seconds_{k}": f"{v:.4f}" for k, v in report.seconds.items()},
    }


def _done(out: Path) -> set[tuple[str, str, int]]:
    if not out.exists():
        return set()
    with out.open(newline="") as file:
        return {(r["model"], r["protocol"], int(r["slice"])) for r in csv.DictReader(file)}


def evaluate(
    models: list[str], protocol: str, data: Path, out: Path, n_slices: int | None = None
) -> Iterator[dict]:
    """Append the missing rows to the CSV file `out`, yielding each as it is written.

    A model is a name of `MODEL_NAMES`, the path of a weights card, or the bound
    "fully-sampled-lr+sinc": a linear reconstruction of the LR scan without undersampling.
    """
    recons = {
        name: load_reconstructor("zero-filled+sinc" if name == BOUND else name) for name in models
    }
    done, commit, new = _done(out), current_commit(), not out.exists()
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        for test in test_slices(data, protocol, n_slices):
            for name, recon in recons.items():
                if (name, protocol, test.index) in done:
                    continue
                row = evaluate_slice(name, recon, test)
                row |= {"protocol": protocol, "commit": commit}
                writer.writerow(row)
                file.flush()
                yield row


def summarise(path: Path) -> list[dict]:
    """Mean and standard deviation (n - 1) over slices of every model and protocol of a CSV."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    keys = list(dict.fromkeys((r["model"], r["protocol"]) for r in rows))
    table = []
    for model, protocol in keys:
        mine = [r for r in rows if (r["model"], r["protocol"]) == (model, protocol)]
        entry = {"model": model, "protocol": protocol, "slices": len(mine)}
        for column in ("psnr", "ssim", "nmse", "kspace_residual", "seconds_total"):
            values = np.array([float(r[column]) for r in mine])
            spread_ = values.std(ddof=1) if len(values) > 1 else 0.0
            entry[column] = (float(values.mean()), float(spread_))
        table.append(entry)
    return table


def n_rows(models: list[str], data: Path, n_slices: int | None) -> int:
    """Return the number of rows that a complete evaluation has."""
    import h5py

    with h5py.File(data, "r") as file:
        return len(models) * len(spread(file["slices"].shape[0], n_slices))
