"""What the outer samples of a readout acquired at high resolution are worth.

    python -m tests.benchmarks.hr_readout [--image FILE:INDEX] [--slices 1] [--readout-pixel 0.5]

The same brain-5x scan (8 coils) with its outer samples, and with these thrown away: PSNR against
the true image, mean over the slices.
"""

import argparse
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from gadget.compute.model import make_reconstructor
from gadget.scan.stages import make_assembler
from gadget.settings import Settings
from jrsr_core.data import KSpaceSlice
from jrsr_core.metrics.image import psnr
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import write_simulation
from jrsr_core.physics.resolution import crop_or_pad

MODELS = ("jrsr-dc", "jrsr", "cg-sense+sinc")


def narrowed(slice_: KSpaceSlice) -> KSpaceSlice:
    """Return the scan without the samples beyond the LR grid."""
    ny, width = slice_.acs.shape[-2], min(slice_.acs.shape[-1], slice_.lr_shape[1])
    return replace(
        slice_,
        kspace=crop_or_pad(slice_.kspace, slice_.lr_shape),
        mask=crop_or_pad(slice_.mask, slice_.lr_shape),
        acs=crop_or_pad(slice_.acs, (ny, width)),
        lr_readout=None,
    )


def main() -> None:
    """Print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", default="")
    parser.add_argument("--slices", type=int, default=1)
    parser.add_argument("--readout-pixel", type=float, default=0.5)
    asked = parser.parse_args()
    request = ScanRequest(
        n_coils=8, image=asked.image, slices=asked.slices, readout_pixel=asked.readout_pixel
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.h5"
        truth = write_simulation(request, path).truth
        for model in MODELS:
            settings = Settings(model=model)
            recon = make_reconstructor(settings)
            with ScanFile(path) as scan:
                plan = plan_scan(scan.header, scan.heads)
                slices = list(make_assembler(scan, plan, settings))
            parts = []
            for change in (lambda s: s, narrowed):
                images = [recon(change(s)) for s in slices]
                ours = [float(psnr(i.magnitude, t)) for i, t in zip(images, truth, strict=True)]
                parts.append(f"{statistics.mean(ours):.2f} dB")
            sys.stdout.write(f"{model}: all samples {parts[0]}, without the outer {parts[1]}\n")


if __name__ == "__main__":
    main()
