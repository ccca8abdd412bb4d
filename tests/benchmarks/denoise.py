"""What the setting `denoise` gives, on simulated slices and on a real scan whose truth is noisy.

    python -m tests.benchmarks.denoise --data brain_val.h5 [--slices 24] [--scan scan.npy]

PSNR in dB, SSIM, effective resolution as a share of the HR Nyquist frequency, and the k-space
residual beside what noise explains of it. The real scan is that of `real_scan`, 2.5x Gaussian; its
truth is as noisy as what was measured, so that noise kept counts as right.
"""

import argparse
import sys
from pathlib import Path

import torch

from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.metrics.image import psnr, ssim
from jrsr_core.metrics.resolution import effective_resolution
from jrsr_core.reconstruction.load import load_model
from training.data.testset import as_kspace_slice, find_slices, scan_slice

from .held_out import load_kspace, outermost_noise
from .real_scan import scans, true_image

VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)
PROTOCOLS = ("brain-5x", "wall-16x")


def figures(scans, recon):
    """Mean PSNR, SSIM, effective resolution, residual and the residual that noise explains."""
    rows = []
    for scan in scans:
        image = recon(as_kspace_slice(scan))
        made, report = image.magnitude, image.report
        quality = [float(f(made, scan.truth)) for f in (psnr, ssim, effective_resolution)]
        rows.append([*quality, report.kspace_residual, report.expected_residual])
    return torch.tensor(rows).mean(0).tolist()


def print_table(title, scans, model, values, calibration=None):
    """Print a row for each value."""
    say = sys.stdout.write
    say(f"\n{title}\n\n| denoise | PSNR [dB] | SSIM | resolution | residual | noise explains |\n")
    say("|---" * 6 + "|\n")
    for value in values:
        found = figures(scans, load_model(model, denoise=value, calibration=calibration))
        cells = ("{:.2f}", "{:.3f}", "{:.3f}", "{:.4f}", "{:.4f}")
        row = " | ".join(c.format(x) for c, x in zip(cells, found, strict=True))
        say(f"| {value:g} | {row} |\n")
        sys.stdout.flush()


@torch.inference_mode()
def main():
    """Print a table for every protocol and one for the real scan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--model", default="jrsr-dc")
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=PROTOCOLS)
    parser.add_argument("--values", nargs="+", type=float, default=VALUES)
    asked = parser.parse_args()
    for protocol in asked.protocols:
        found = find_slices(asked.data, asked.slices)
        made = [scan_slice(address, protocol).scan for address in found]
        print_table(f"{protocol}, {len(made)} slices", made, asked.model, asked.values)
    if asked.scan:
        kspace, mask = load_kspace(asked.scan)
        noise_std = outermost_noise(kspace, mask)
        truth = true_image(kspace, noise_std)
        made = list(scans(kspace, noise_std, truth, "gaussian", 2.5))
        calibration = CalibrationSettings(len(kspace))
        print_table(asked.scan.stem, made, asked.model, asked.values, calibration)


if __name__ == "__main__":
    main()
