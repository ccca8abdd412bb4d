"""How far the images of the scan matrix lie from what their sampling alone explains.

    python -m tests.benchmarks.scan_matrix

The cells of `tests.gadget.offline.test_scan_matrix`; prints the largest difference of PSNR to the
oracle and of the images themselves, apart for cells that have to agree exactly and for the others
(partial echo on an oversampled readout, external reference of a volume).
"""

import sys
import tempfile
from pathlib import Path

from jrsr_core.metrics.image import psnr
from tests.gadget.offline.test_scan_matrix import OPTIONS_2D, OPTIONS_3D, cell_2d, cell_3d, pairwise


def main() -> None:
    """Print two lines for 2-D and two for 3-D."""
    for name, options, run in (("2-D", OPTIONS_2D, cell_2d), ("3-D", OPTIONS_3D, cell_3d)):
        worst = {True: [0.0, 0.0, 0], False: [0.0, 0.0, 0]}
        for cell in pairwise(options):
            with tempfile.TemporaryDirectory() as folder:
                for image, oracle, truth, is_exact in run(cell, Path(folder)):
                    ours, theirs, object_ = (
                        m.flatten(0, -2) for m in (image.magnitude, oracle.magnitude, truth)
                    )
                    decibel = abs(float(psnr(ours, object_)) - float(psnr(theirs, object_)))
                    change = float((ours - theirs).norm() / theirs.norm())
                    most, furthest, n = worst[is_exact]
                    worst[is_exact] = [max(most, decibel), max(furthest, change), n + 1]
        for is_exact, (decibel, change, n) in worst.items():
            kind = "exact" if is_exact else "bounded"
            sys.stdout.write(f"{name} {kind}: {n} images, {decibel:.4f} dB, {100 * change:.3f} %\n")


if __name__ == "__main__":
    main()
