"""Can the maps of `jrsr_core.quality` find a structure that the network made up?

    python -m tests.benchmarks.lesions --data brain_test.h5 [--slices 12] [--model jrsr-dc]

Discs of several radii (HR pixels) and contrasts (of the local intensity) are added to the image of
the networks, before data consistency, at random places inside the object. Area under the ROC curve:
the probability that the mean of a map over the disc is larger with the disc than without it, over
all places. `left` is what remains of the disc's contrast in the delivered image. Then the
correlation of each map with the true error inside the object, beside that of the spread of four
reconstructions of flipped k-space (an uncertainty map at four times the cost).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.pipeline import load_reconstructor
from jrsr_core.quality import MAP_NAMES, hallucination_maps
from training.evaluate import as_kspace_slice, test_slices

RADII = (1.0, 1.5, 2.0, 3.0, 5.0)
CONTRASTS = (0.1, 0.2, 0.4, 0.8)
N_PLACES = 8
DISTANCE = 30
OBJECT = 0.25


def disc(shape, place, radius):
    """Soft-edged disc of height 1."""
    y = torch.arange(shape[0])[:, None] - place[0]
    x = torch.arange(shape[1])[None, :] - place[1]
    return 0.5 + 0.5 * torch.tanh((radius - (y**2 + x**2).sqrt()) / 0.7)


def places(inside, seed):
    """Random points of the object that keep their distance."""
    rng = np.random.default_rng(seed)
    candidates = rng.permutation(np.argwhere(inside.numpy()))
    chosen = []
    for point in candidates:
        if all(((point - other) ** 2).sum() > DISTANCE**2 for other in chosen):
            chosen.append(point)
        if len(chosen) == N_PLACES:
            break
    return chosen


def delivered(model, prior, calibrated):
    """What the system makes of the image of its networks."""
    sense = calibrated.sense
    zero_filled = sense.adjoint(calibrated.kspace)
    image = model.consistency(prior, zero_filled, sense, calibrated.noise_std)
    weight = model.consistency.mu(calibrated.noise_std)
    return ModelOutput(image, prior, prior=prior, prior_weight=weight)


def flipped(x, dims):
    """x(-r): the point n//2 stays (even sizes)."""
    return x.flip(dims).roll([1] * len(dims), dims) if dims else x


def spread(model, calibrated):
    """Standard deviation over reconstructions of flipped k-space."""
    images = []
    for dims in ((), (-2,), (-1,), (-2, -1)):
        sense = SenseOperator(
            flipped(calibrated.sense.csm, dims), flipped(calibrated.sense.mask, dims)
        )
        output = model(flipped(calibrated.kspace, dims), sense, calibrated.noise_std)
        images.append(flipped(output.image, dims)[0].abs())
    return torch.stack(images).std(0)


def auc(with_it, without):
    """P(with > without), ties count half."""
    a, b = np.array(with_it)[:, None], np.array(without)[None]
    return float((a > b).mean() + 0.5 * (a == b).mean())


def correlation(a, b, inside):
    """Pearson's, inside the object."""
    return float(np.corrcoef(a[inside].numpy(), b[inside].numpy())[0, 1])


@torch.inference_mode()
def main():
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--model", default="jrsr-dc")
    options = parser.parse_args()
    recon = load_reconstructor(options.model)
    model = recon.model
    scores, left, agreement = {}, {}, {}
    for test in test_slices(options.data, "brain-5x", options.slices):
        calibrated = recon.calibrated(as_kspace_slice(test.scan))
        output = model(calibrated.kspace, calibrated.sense, calibrated.noise_std)
        truth = test.scan.truth / calibrated.scale
        inside = truth > OBJECT * truth.max()
        quiet = hallucination_maps(output, calibrated)
        error = (output.image[0].abs() - truth).abs()
        candidates = {name: quiet[name][0] for name in MAP_NAMES}
        for name, value in (candidates | {"flips": spread(model, calibrated)}).items():
            agreement.setdefault(name, []).append(correlation(value, error, inside))
        phase = output.prior / output.prior.abs().clamp_min(1e-6)
        for radius in RADII:
            discs = [disc(truth.shape, place, radius) for place in places(inside, test.index)]
            for contrast in CONTRASTS:
                heights = [contrast * float(output.prior.abs()[0][d > 0.5].mean()) for d in discs]
                added = sum(h * d for h, d in zip(heights, discs, strict=True)) * phase
                planted = delivered(model, output.prior + added, calibrated)
                loud = hallucination_maps(planted, calibrated)
                kept = ((planted.image - output.image) / phase).real[0]
                for d, height in zip(discs, heights, strict=True):
                    where = d > 0.5
                    left.setdefault(radius, []).append(
                        float(kept[where].mean()) / (height * float(d[where].mean()))
                    )
                    for name in MAP_NAMES:
                        pair = scores.setdefault((radius, contrast, name), ([], []))
                        pair[0].append(float(loud[name][0][where].mean()))
                        pair[1].append(float(quiet[name][0][where].mean()))
    write_tables(scores, left, agreement)


def write_tables(scores, left, agreement):
    """Print AUC by radius and contrast, then the correlations."""
    out = sys.stdout
    head = " | ".join(f"{name} {c:.0%}" for name in MAP_NAMES for c in CONTRASTS)
    out.write(f"| radius | left | {head} |\n" + "|---" * (2 + 3 * len(CONTRASTS)) + "|\n")
    for radius in RADII:
        cells = [f"{radius:g}", f"{np.mean(left[radius]):.2f}"]
        cells += [f"{auc(*scores[radius, c, n]):.2f}" for n in MAP_NAMES for c in CONTRASTS]
        out.write(f"| {' | '.join(cells)} |\n")
    out.write("\n| map | correlation with the error |\n|---|---|\n")
    for name, values in agreement.items():
        out.write(f"| {name} | {np.mean(values):.2f} (sd {np.std(values):.2f}) |\n")


if __name__ == "__main__":
    main()
