"""Does the hallucination map find a structure that was planted into the image of the network?

    python -m tests.benchmarks.lesions --data brain_test.h5 [--slices 12] [--models jrsr-dc]

Discs of several radii (HR pixels) and contrasts (of the local intensity) are added to the image of
the networks, before data consistency, at random places inside the object; then, in discs of radius
5, stripes along x with a period of 2.5 pixels, finer than what was measured. Area under the ROC
curve: the probability that the mean of a map over the disc is larger with the disc than without it,
over all places. `left` is what remains of its contrast in the delivered image: all of it for a
system without data consistency, such as `--models jrsr@brain-5x`. Then the mean of each map inside
the object where the network's image is the truth itself, over that of `taken_back` there, which is
noise (`hallucination` as it is, in multiples of what is expected); and the correlation of each map
with the true error inside the object, beside that of the spread of four reconstructions of flipped
k-space (an uncertainty map at four times the cost).

With several models, one row each: `hallucination` at a contrast of 20 % as area under the ROC curve
and, in brackets, what is left; its mean over a faithful image; its correlation with the error.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from jrsr_core.data import MAP_MEANING, UNITLESS_MAPS
from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.models.phase import smooth_phase
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.reconstruction.load import load_model
from jrsr_core.reconstruction.quality import hallucination_maps
from training.data.testset import as_kspace_slice, find_slices, scan_slice
from training.evaluation.evaluate import names_by_label

RADII = (1.0, 1.5, 2.0, 3.0, 5.0)
STRIPES, STRIPES_RADIUS, PERIOD = "stripes", 5.0, 2.5
KINDS = (*RADII, STRIPES)
CONTRASTS = (0.1, 0.2, 0.4, 0.8)
ROW_CONTRASTS, ROW_MAP = (0.2,), "hallucination"
"""Of the table with one row per model."""

N_PLACES = 8
DISTANCE = 30
OBJECT = 0.25


def disc(shape, place, radius):
    """Soft-edged disc of height 1."""
    y = torch.arange(shape[0])[:, None] - place[0]
    x = torch.arange(shape[1])[None, :] - place[1]
    return 0.5 + 0.5 * torch.tanh((radius - (y**2 + x**2).sqrt()) / 0.7)


def planted(kind, shape, place):
    """A disc of a radius, or a disc of stripes; and where it is."""
    where = disc(shape, place, STRIPES_RADIUS if kind == STRIPES else kind)
    if kind != STRIPES:
        return where, where > 0.5
    return where * torch.cos(2 * torch.pi * torch.arange(shape[1]) / PERIOD), where > 0.5


def kept_contrast(change, lesion, where):
    """Share of a lesion that the change of an image contains."""
    return float((change * lesion)[where].sum() / lesion[where].square().sum())


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


def prior_of(output, calibrated):
    """The complex image of the networks; a magnitude gets the smooth phase of x_rec."""
    if output.prior is not None:
        return output.prior
    _, phase = smooth_phase(output.low_resolution, calibrated.sense.image_shape)
    return output.image * phase


def delivered(model, prior, calibrated):
    """What the system makes of the image of its networks."""
    sense = calibrated.sense.single_map()
    if not hasattr(model, "consistency"):
        return ModelOutput(prior, prior)
    zero_filled = sense.adjoint(calibrated.kspace)
    last = getattr(model, "refinement", None) or model
    image = last.consistency(prior, zero_filled, sense, calibrated.noise_std)
    weight = last.consistency.mu(calibrated.noise_std)
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


class Scores:
    """What the tables are made of, over all slices."""

    def __init__(self, contrasts=CONTRASTS):
        self.contrasts = contrasts
        self.pairs, self.left, self.faithful, self.agreement = {}, {}, {}, {}

    def add_planted(self, model, output, calibrated, inside, seed):
        """Plant every kind at every contrast, and compare the maps with and without it."""
        quiet = hallucination_maps(output, calibrated)
        prior = prior_of(output, calibrated)
        output = delivered(model, prior, calibrated)
        phase = prior / prior.abs().clamp_min(1e-6)
        for kind in KINDS:
            found = [planted(kind, inside.shape, place) for place in places(inside, seed)]
            for contrast in self.contrasts:
                level = prior.abs()[0]
                heights = [contrast * float(level[where].mean()) for _, where in found]
                added = sum(h * d for h, (d, _) in zip(heights, found, strict=True)) * phase
                changed = delivered(model, prior + added, calibrated)
                loud = hallucination_maps(changed, calibrated)
                kept = ((changed.image - output.image) * phase.conj()).real[0]
                for (d, where), height in zip(found, heights, strict=True):
                    self.left.setdefault(kind, []).append(kept_contrast(kept, height * d, where))
                    for name in MAP_MEANING:
                        pair = self.pairs.setdefault((kind, contrast, name), ([], []))
                        pair[0].append(float(loud[name][0][where].mean()))
                        pair[1].append(float(quiet[name][0][where].mean()))

    def add_faithful(self, model, output, truth, calibrated, inside):
        """Maps of the truth itself, as if the networks had drawn it."""
        _, phase = smooth_phase(output.low_resolution, calibrated.sense.image_shape)
        maps = hallucination_maps(delivered(model, truth * phase, calibrated), calibrated)
        noise = maps["taken_back"][0][inside].mean()
        for name in MAP_MEANING:
            unit = 1.0 if name in UNITLESS_MAPS else noise
            value = float(maps[name][0][inside].mean() / unit)
            self.faithful.setdefault(name, []).append(value)

    def add_agreement(self, output, truth, calibrated, inside, others):
        """Correlation of the maps, and of others by name, with the true error."""
        error = (output.image[0].abs() - truth).abs()
        maps = hallucination_maps(output, calibrated)
        for name, value in ({name: maps[name][0] for name in MAP_MEANING} | others).items():
            self.agreement.setdefault(name, []).append(correlation(value, error, inside))


@torch.inference_mode()
def main():
    """Print the tables of one model, or one row per model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--models", default="jrsr-dc")
    options = parser.parse_args()
    names = names_by_label(dict.fromkeys(options.models.split(",")))
    systems = {n: load_model(name, accept_contradictions=True) for n, name in names.items()}
    in_detail = len(systems) == 1
    contrasts = CONTRASTS if in_detail else ROW_CONTRASTS
    scores = {label: Scores(contrasts) for label in systems}
    for address in find_slices(options.data, options.slices):
        test = scan_slice(address, "brain-5x")
        for label, recon in systems.items():
            add_slice(scores[label], recon, test, in_detail)
    if in_detail:
        write_tables(*scores.values())
    else:
        write_rows(scores)


def add_slice(scores, recon, test, in_detail):
    """Put all that is asked of one slice into the scores."""
    calibrated = recon.slices.calibrated(as_kspace_slice(test.scan))
    output = recon.slices.model_output(calibrated)
    truth = test.scan.truth / calibrated.scale
    inside = truth > OBJECT * truth.max()
    scores.add_planted(recon.model, output, calibrated, inside, test.address.index)
    scores.add_faithful(recon.model, output, truth, calibrated, inside)
    others = {"flips": spread(recon.model, calibrated)} if in_detail else {}
    scores.add_agreement(output, truth, calibrated, inside, others)


def write_tables(scores):
    """Print AUC by kind and contrast, then the maps of a faithful image, then the correlations."""
    out = sys.stdout
    head = " | ".join(f"{name} {c:.0%}" for name in MAP_MEANING for c in CONTRASTS)
    out.write(f"| radius | left | {head} |\n" + "|---" * (2 + 3 * len(CONTRASTS)) + "|\n")
    for kind in KINDS:
        cells = [f"{kind}", f"{np.mean(scores.left[kind]):.2f}"]
        cells += [f"{auc(*scores.pairs[kind, c, n]):.2f}" for n in MAP_MEANING for c in CONTRASTS]
        out.write(f"| {' | '.join(cells)} |\n")
    out.write("\n| map of a faithful image | over the noise |\n|---|---|\n")
    for name, values in scores.faithful.items():
        out.write(f"| {name} | {np.mean(values):.2f} (largest {np.max(values):.2f}) |\n")
    out.write("\n| map | correlation with the error |\n|---|---|\n")
    for name, values in scores.agreement.items():
        out.write(f"| {name} | {np.mean(values):.2f} (sd {np.std(values):.2f}) |\n")


def write_rows(scores):
    """Print one row per model: area under the ROC curve (contrast left), faithful, correlation."""
    out = sys.stdout
    out.write(f"| model | {' | '.join(str(k) for k in KINDS)} | faithful | correlation |\n")
    out.write("|---" * (3 + len(KINDS)) + "|\n")
    for label, found in scores.items():
        cells = []
        for kind in KINDS:
            share = auc(*found.pairs[kind, ROW_CONTRASTS[0], ROW_MAP])
            cells.append(f"{share:.2f} ({np.mean(found.left[kind]):.2f})")
        cells.append(f"{np.mean(found.faithful[ROW_MAP]):.2f}")
        cells.append(f"{np.mean(found.agreement[ROW_MAP]):.2f}")
        out.write(f"| {label} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
