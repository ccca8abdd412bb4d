"""Do images keep real lesions? The contrast of small structures that were scanned.

    python -m tests.benchmarks.kept_lesions --data brain_test.h5 [--models A,B] [--slices 12]
        [--protocol brain-5x] [--contrast 0.2] [--denoise 0.5 1] [--png OUT]

Discs of several radii (HR pixels), brighter or darker than their surroundings by the contrast, are
put into the truth at random places inside the object, before the scan; then, in discs of radius 5,
stripes along x with a period of 2.5 pixels, finer than what is measured. Kept contrast: the change
of the image, with the lesions and without, projected on the lesion, as a share of that of the
truth. 1 keeps a lesion, 0 loses it. Mean and standard deviation over all places. `upper reference`
is the scan without undersampling, sinc interpolated; `--denoise` adds `jrsr-dc` with these
settings. `--png` draws a lesion of every radius and its surroundings, in one slice, and prints no
table. A model may be LABEL=NAME or LABEL=CARD.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from gadget.output.pictures.draw import encode_png, grey_picture, montage
from jrsr_core.reconstruction.load import load_model
from training.data.testset import as_kspace_slice, find_slices, read_slice, scan_test_image

from .generalisation import FLOOR, UPPER_REFERENCE, load_systems
from .lesions import KINDS, OBJECT, RADII, kept_contrast, places, planted

SIGNS = (1.0, -1.0)
HALF, ZOOM = 24, 3
"""Of the picture: pixels from the lesion to the edge of its tile, and magnification."""


def lesions(image, kind, contrast, seed):
    """Pairs of a lesion, the change of the image that it is, and the pixels it covers."""
    found = [planted(kind, image.shape, p) for p in places(image > OBJECT * image.max(), seed)]
    return [(contrast * image[where].mean() * shape, where) for shape, where in found]


def scans_of(address, protocol, contrast):
    """The scan of a slice, and per kind and sign its lesions with the scan that has them."""
    image = read_slice(address)
    yield None, [], scan_test_image(image, protocol, address.index)
    for kind in KINDS:
        for sign in SIGNS:
            planted_here = lesions(image, kind, sign * contrast, address.index)
            changed = image + sum(lesion for lesion, _ in planted_here)
            yield kind, planted_here, scan_test_image(changed, protocol, address.index)


def add_slice(kept, images):
    """Put the kept contrast of one slice into lists by kind."""
    (_, _, without), *others = images
    for kind, planted_here, image in others:
        for lesion, where in planted_here:
            kept.setdefault(kind, []).append(kept_contrast(image - without, lesion, where))


@torch.inference_mode()
def main():
    """Print one row per model, or draw the lesions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", default="cg-sense+sinc,jrsr,jrsr-dc")
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--protocol", default="brain-5x")
    parser.add_argument("--contrast", type=float, default=0.2)
    parser.add_argument("--denoise", nargs="*", type=float, default=())
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    systems = {UPPER_REFERENCE: load_model(FLOOR), **load_systems(options.models)}
    for value in options.denoise:
        systems[f"jrsr-dc, denoise {value:g}"] = load_model("jrsr-dc", denoise=value)
    addresses = find_slices(options.data, options.slices)
    if options.png:
        middle = list(scans_of(addresses[len(addresses) // 2], options.protocol, options.contrast))
        options.png.write_bytes(encode_png(picture(middle, systems)))
        return
    kept = {label: {} for label in systems}
    for address in addresses:
        scans = list(scans_of(address, options.protocol, options.contrast))
        for label, recon in systems.items():
            images = [(kind, there, image_of(scan, label, recon)) for kind, there, scan in scans]
            add_slice(kept[label], images)
    write_table(kept)


def image_of(scan, label, recon):
    """The magnitude that a system makes of a scan; the upper reference has it fully sampled."""
    return recon(as_kspace_slice(scan, fully_sampled=label == UPPER_REFERENCE)).magnitude


def picture(scans, systems):
    """A row per radius, bright lesions alone: truth and every system, with one window."""
    tiles, caption = [], ("truth", *systems)
    centre = torch.tensor(scans[0][2].truth.shape) / 2
    for kind, there, scan in scans[1 :: len(SIGNS)][: len(RADII)]:
        images = [scan.truth, *(image_of(scan, *system) for system in systems.items())]
        middles = torch.stack([middle_of(where) for _, where in there])
        nearest = middles[(middles - centre).norm(dim=1).argmin()].round().int().tolist()
        rows, columns = (slice(max(0, i - HALF), i + HALF) for i in nearest)
        top = float(scan.truth[rows, columns].max())
        for name, image in zip(caption, images, strict=True):
            tile = grey_picture(image[rows, columns].numpy(), top)
            large = tile.resize([ZOOM * n for n in tile.size], resample=0)
            tiles.append((large, (f"{name}, {kind:g}",)))
    return montage(tiles, n_columns=len(caption))


def middle_of(where):
    """The middle of a mask in pixels, float32 ``(2,)``."""
    return torch.stack([indices.float().mean() for indices in torch.where(where)])


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
