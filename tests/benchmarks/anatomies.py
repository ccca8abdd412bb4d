"""Quality on objects other than brains, made as those of training are, and on brains beside them.

    python -m tests.benchmarks.anatomies --data brain_val.h5 [--objects 6] [--models A,B]

Every kind of `variety.objects`, the image itself and a phantom are scanned by brain-5x (16 coils,
30 dB) on a 232 x 256 matrix. Seeds are those of no training scan. Cells as in
`generalisation`; `upper reference` is the scan without undersampling, sinc interpolated.
`--conditions` names other scans of the same objects: one coil, hardly any line outside the
calibration lines, low signal. A model may be LABEL=NAME or LABEL=CARD.
"""

import argparse
import sys
from pathlib import Path

import torch

from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.simulation.image_stack import load_image
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import simulate_protocol
from training.data.testset import find_slices
from training.data.variety.objects import DRAWN, make_object

from .generalisation import UPPER_REFERENCE, cells_above_floor, judge, load_systems

SHAPE = (232, 256)
FIRST_SEED = 1_000_000
"""Seeds of training scans are 2^31 and above."""

CONDITIONS = {
    "brain-5x": {},
    "fully sampled": {"mask": "full", "acceleration": 1.0},
    "one coil": {"n_coils": 1},
    "one coil, fully sampled": {"n_coils": 1, "mask": "full", "acceleration": 1.0},
    "4 lines outside, 40 dB": {"acceleration": 116 / 28, "noise_db": 40.0},
    "15 dB": {"noise_db": 15.0},
}


def objects(kind, addresses):
    """One object of a kind per slice, even in size."""
    for number, address in enumerate(addresses):
        image = load_image(address.path, address.index)
        if kind == "phantom":
            yield brain_phantom(SHAPE)
            return
        if kind != "brain":
            generator = torch.Generator().manual_seed(FIRST_SEED + number)
            image = make_object(kind, image, SHAPE, generator)
        yield crop_or_pad(image, SHAPE).contiguous()


def scans(kind, addresses, changes):
    """The scans of all objects of a kind."""
    for number, image in enumerate(objects(kind, addresses)):
        yield simulate_protocol("brain-5x", image, seed=number, **changes)


@torch.inference_mode()
def main():
    """Print one table per condition, a row per kind of object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--objects", type=int, default=6)
    parser.add_argument("--models", default="jrsr,jrsr-dc")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=["brain-5x"])
    options = parser.parse_args()
    recons = load_systems(options.models)
    addresses = find_slices(options.data, options.objects)
    for condition in options.conditions:
        sys.stdout.write(f"\n| {condition} | {' | '.join([*recons, UPPER_REFERENCE])} |\n")
        sys.stdout.write("|---" * (len(recons) + 2) + "|\n")
        for kind in ("brain", "bent", *DRAWN, "phantom"):
            means = judge(scans(kind, addresses, CONDITIONS[condition]), recons)
            sys.stdout.write(f"| {kind} | {' | '.join(cells_above_floor(means))} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
