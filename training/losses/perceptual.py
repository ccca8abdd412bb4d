"""Perceptual loss: distance of an image and its truth in the features of a frozen network.

    L_per = sum_l w_l mean | phi_l(x) - phi_l(x_GT) |                       (paper, eq. 8)

phi: VGG-19 at conv5_4 before its ReLU (ESRGAN's choice, with the same constants as the paper), or
another trunk. Magnitudes are divided by the maximum of the truth and clamped to [0, 1] for it.
Instead of the L1 distance, `l2` takes the mean square and `cosine` 1 - cos of the angle between the
features of a pixel (Zhang et al., CVPR 2018, without their learned weights), which is independent
of the scale of a trunk. AlexNet is no trunk for training, since LPIPS judges the images with it.
Weights come from a local file whose hash is checked. Without one a recipe can fall back on a loss
that is not perceptual and is recorded under its own name:

    gradient       sum over scales 1, 1/2, 1/4 of mean |grad x - grad x_GT|
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cosine_similarity

from jrsr_core.metrics.trunks import TRUNKS, Trunk, TrunkError, load_trunk
from training.config.groups import Loss
from training.config.groups import Perceptual as Settings

DEEPEST = {"vgg19": "conv5_4", "vgg16": "conv5_3", "squeezenet": "fire9"}
UNLIKE_PAPER = {
    "vgg16": "VGG-16 of the authors in place of the paper's VGG-19: 13 convolutions instead of 16, "
    "conv5_3 in the place of conv5_4, features of images in 0..255 instead of about -2..2.6",
    "squeezenet": "SqueezeNet 1.1 in place of the paper's VGG-19",
}
"""Differences that the card states."""

KEPT_BYTES = 1 << 29
"""Largest memory for features of truths."""
N_SCALES = 3


def _display(magnitude: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both magnitudes ``(batch, y, x)`` in units of the truth's maximum, clamped."""
    peak = target.amax((-2, -1), keepdim=True).clamp_min(1e-6)
    return (magnitude / peak).clamp(0, 1), (target / peak).clamp(0, 1)


class FeatureLoss(nn.Module):
    """Weighted distance in the features of a trunk.

    On a CPU the features of truths with a name are kept for their next visit, up to `KEPT_BYTES`.
    """

    def __init__(self, trunk: Trunk, weights: dict[str, float], distance: str) -> None:
        super().__init__()
        self.trunk, self.weights, self.distance = trunk, weights, distance
        self.kept: dict[str, dict[str, Tensor]] = {}
        self.kept_bytes = 0

    def forward(self, magnitude: Tensor, target: Tensor, names: Sequence[str] = ()) -> Tensor:
        """Return the loss of magnitudes ``(batch, y, x)``; no gradient reaches the truth.

        `names` identify truths that come again with the same pixels.
        """
        image, truth = _display(magnitude, target)
        found = self.trunk(image)
        wanted = self._wanted(truth, names)
        total = image.new_zeros(())
        for layer, weight in self.weights.items():
            total = total + weight * _distance(
                found[layer].float(), wanted[layer].float(), self.distance
            )
        return total

    @torch.no_grad()
    def _wanted(self, truth: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        if not names or truth.is_cuda:
            return self.trunk(truth)
        # One by one: the bits of a run must not depend on which of a batch are kept.
        rows = [self._of_one(name, truth[i : i + 1]) for i, name in enumerate(names)]
        return {layer: torch.cat([row[layer] for row in rows]) for layer in self.weights}

    def _of_one(self, name: str, truth: Tensor) -> dict[str, Tensor]:
        if name in self.kept:
            return self.kept[name]
        features = self.trunk(truth)
        size = sum(value.nbytes for value in features.values())
        if self.kept_bytes + size <= KEPT_BYTES:
            self.kept[name] = features
            self.kept_bytes += size
        return features


def _distance(found: Tensor, wanted: Tensor, kind: str) -> Tensor:
    if kind == "cosine":
        return (1 - cosine_similarity(found, wanted)).mean()
    difference = found - wanted
    return (difference.abs() if kind == "l1" else difference.square()).mean()


class GradientLoss(nn.Module):
    """L1 of finite differences at three scales: the fallback that needs no trunk."""

    def forward(self, magnitude: Tensor, target: Tensor, names: Sequence[str] = ()) -> Tensor:
        """Return the loss of magnitudes ``(batch, y, x)``; nothing is kept by name."""
        difference = (magnitude - target.detach())[:, None]
        total = magnitude.new_zeros(())
        for scale in range(N_SCALES):
            if scale:
                difference = avg_pool2d(difference, 2)
            total = (
                total + difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
            )
        return total


@dataclass(frozen=True, eq=False)
class Perceptual:
    """The loss of a run, and which network it uses in fact, for the weights card."""

    loss: nn.Module
    facts: dict[str, Any]


def _layers(settings: Settings) -> dict[str, float]:
    """Return the weight of every layer; the deepest where none, or another network's, is named."""
    network, wanted = settings.network, settings.layers
    own, every = TRUNKS[network].layers, {x for spec in TRUNKS.values() for x in spec.layers}
    if wanted.keys() <= every and not wanted.keys() & own.keys():
        return {DEEPEST[network]: 1.0}
    return dict(wanted)


def make_perceptual(loss: Loss) -> Perceptual | None:
    """Return the perceptual loss of a run, None where its weight is 0.

    Raises
    ------
    TrunkError
        No weights and no fallback named, weights missing or with another hash, unknown layer.
    """
    settings, name = loss.perceptual, loss.perceptual.network
    if not loss.per or name == "none":
        return None
    if name in TRUNKS and not settings.file and settings.fallback == "none":
        raise TrunkError(
            f"loss.perceptual.network is {name}, but there are no weights: give "
            "loss.perceptual.file=FILE (never downloaded) or loss.perceptual.fallback=gradient"
        )
    if name == "gradient" or not settings.file:
        is_fallback = name != "gradient"
        return Perceptual(
            GradientLoss(), {"wanted": name, "used": "gradient", "fallback": is_fallback}
        )
    path, weights = Path(settings.file), _layers(settings)
    trunk = load_trunk(name, path, settings.sha256 or None, layers=tuple(weights))
    facts: dict[str, Any] = {"wanted": name, "used": name, "fallback": False}
    facts["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    if name in UNLIKE_PAPER:
        facts["unlike_paper"] = UNLIKE_PAPER[name]
    if settings.layers and weights != settings.layers:
        facts["layers"] = weights
    return Perceptual(FeatureLoss(trunk, weights, settings.distance), facts)


def difference_from_recipe(facts: dict | None, settings: Settings) -> str:
    """Return how the loss differs from that of the recipe; empty where it does not."""
    if facts and facts["fallback"]:
        return f"no weights of {facts['wanted']}: the perceptual loss is {facts['used']}"
    if facts and "layers" in facts:
        layers = [", ".join(names) for names in (settings.layers, facts["layers"])]
        return f"{facts['used']} has no {layers[0]}: the perceptual loss takes {layers[1]}"
    return ""
