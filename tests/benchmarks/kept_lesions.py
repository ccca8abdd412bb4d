"""Do images keep real lesions? The contrast of small structures that were scanned.

    python -m tests.benchmarks.kept_lesions --data brain_test.h5 [--models A,B] [--slices 12]
        [--protocol brain-5x] [--contrast 0.2] [--denoise 0.5 1]

Discs of several radii (HR pixels), brighter or darker than their surroundings by the contrast, are
put into the truth at random places inside the object, before the scan; then, in discs of radius 5,
stripes along x with a period of 2.5 pixels, finer than what is measured. Kept contrast: the change
of the image, with the lesions and without, projected on the lesion, as a share of that of the
truth. 1 keeps a lesion, 0 loses it. Mean and standard deviation over all places. `bound` is the
scan without undersampling, sinc interpolated; `--denoise` adds `jrsr-dc` with these settings. A
model may be LABEL=NAME or LABEL=CARD.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from jrsr_core.reconstruction.load import load_model
from training.data.testset import as_kspace_slice, find_slices, read_slice, scan_image

from .generalisation import BOUND, FLOOR, load_systems
from .lesions import KINDS, OBJECT, places, planted

SIGNS = (1.0, -1.0)


def lesions(image, kind, contrast, seed):
    """Pairs of a lesion, the change of the image that it is, and the pixels it covers."""
    found = [planted(kind, image.shape, p) for p in places(image > OBJECT * image.max(), seed)]
    return [(contrast * image[where].mean() * shape, where) for shape, where in found]


def kept_contrast(change, lesion, where):
    """Share of a lesion that the change of an image contains."""
    return float((change * lesion)[where].sum() / lesion[where].square().sum())


def scans_of(address, protocol, contrast):
    """The scan of a slice, and per kind and sign its lesions with the scan that has them."""
    image = read_slice(address)
    yield None, [], scan_image(image, protocol, address.index)
    for kind in KINDS:
        for sign in SIGNS:
            planted_here = lesions(image, kind, sign * contrast, address.index)
            changed = image + sum(lesion for lesion, _ in planted_here)
            yield kind, planted_here, scan_image(changed, protocol, address.index)


def add_slice(kept, images):
    """Put the kept contrast of one slice into lists by kind."""
    (_, _, without), *others = images
    for kind, planted_here, image in others:
        for lesion, where in planted_here:
            kept.setdefault(kind, []).append(kept_contrast(image - without, lesion, where))


@torch.inference_mode()
def main():
    """Print one row per model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", default="cg-sense+sinc,jrsr,jrsr-dc")
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--protocol", default="brain-5x")
    parser.add_argument("--contrast", type=float, default=0.2)
    parser.add_argument("--denoise", nargs="*", type=float, default=())
    options = parser.parse_args()
    systems = {BOUND: load_model(FLOOR), **load_systems(options.models)}
    for value in options.denoise:
        systems[f"jrsr-dc, denoise {value:g}"] = load_model("jrsr-dc", denoise=value)
    kept = {label: {} for label in systems}
    for address in find_slices(options.data, options.slices):
        scans = list(scans_of(address, options.protocol, options.contrast))
        for label, recon in systems.items():
            full = label == BOUND
            images = [
                (kind, there, recon(as_kspace_slice(scan, fully_sampled=full)).magnitude)
                for kind, there, scan in scans
            ]
            add_slice(kept[label], images)
    write_table(kept)


def write_table(kept):
    """Print mean and standard deviation over all places."""
    out = sys.stdout
    out.write(f"| kept contrast, by radius | {' | '.join(str(kind) for kind in KINDS)} |\n")
    out.write("|---" * (1 + len(KINDS)) + "|\n")
    for label, by_kind in kept.items():
        cells = [f"{np.mean(by_kind[kind]):.2f} ({np.std(by_kind[kind]):.2f})" for kind in KINDS]
        out.write(f"| {label} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
