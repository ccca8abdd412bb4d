"""Perceptual loss: distance of an image and its truth in the features of a frozen network.

    L_per = sum_l w_l mean | phi_l(x) - phi_l(x_GT) |                       (paper, eq. 8)

phi: VGG-19 at conv5_4 before its ReLU (ESRGAN's choice, with the same constants as the paper), or
another trunk. Magnitudes are divided by the maximum of the truth and clamped to [0, 1] for it.
Weights come from a checked local file. Without one a fallback can be named, which is no perceptual
loss and is recorded under its own name:

    vgg19-random   the same architecture with random weights
    gradient       sum over scales 1, 1/2, 1/4 of mean |grad x - grad x_GT|
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from jrsr_core.metrics.trunks import TRUNKS, Trunk, TrunkError, load_trunk, random_trunk
from training.config import RunConfig

DEEPEST = {"vgg19": "conv5_4", "alexnet": "relu5", "squeezenet": "fire9"}
N_SCALES = 3


def display(magnitude: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both magnitudes ``(batch, y, x)`` in units of the truth's maximum, clamped."""
    peak = target.amax((-2, -1), keepdim=True).clamp_min(1e-6)
    return (magnitude / peak).clamp(0, 1), (target / peak).clamp(0, 1)


class FeatureLoss(nn.Module):
    """Weighted distance in the features of a trunk."""

    def __init__(self, trunk: Trunk, weights: dict[str, float], distance: str) -> None:
        super().__init__()
        self.trunk, self.weights, self.distance = trunk, weights, distance

    def forward(self, magnitude: Tensor, target: Tensor) -> Tensor:
        """Return the loss of magnitudes ``(batch, y, x)``; no gradient reaches the truth."""
        image, truth = display(magnitude, target)
        found = self.trunk(image)
        with torch.no_grad():
            wanted = self.trunk(truth)
        total = image.new_zeros(())
        for layer, weight in self.weights.items():
            difference = found[layer].float() - wanted[layer].float()
            power = difference.abs() if self.distance == "l1" else difference.square()
            total = total + weight * power.mean()
        return total


class GradientLoss(nn.Module):
    """L1 of finite differences at three scales: the fallback that needs no trunk."""

    def forward(self, magnitude: Tensor, target: Tensor) -> Tensor:
        """Return the loss of magnitudes ``(batch, y, x)``."""
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
    """The loss of a run and what it truly is, for the weights card."""

    loss: nn.Module
    facts: dict


def _fallback(config: RunConfig, name: str, weights: dict[str, float]) -> Perceptual:
    facts = {"wanted": config.perceptual, "used": name, "fallback": name != config.perceptual}
    if name == "gradient":
        return Perceptual(GradientLoss(), facts)
    trunk = random_trunk("vgg19", layers=tuple(weights))
    return Perceptual(FeatureLoss(trunk, weights, config.perceptual_distance), facts)


def _layers(config: RunConfig, architecture: str) -> dict[str, float]:
    """Weight of every layer of a recipe; the deepest where it names none, or another network's."""
    wanted = dict(config.perceptual_layers)
    if architecture not in DEEPEST:
        return wanted
    own, every = TRUNKS[architecture].layers, {x for spec in TRUNKS.values() for x in spec.layers}
    if wanted.keys() <= every and not wanted.keys() & own.keys():
        return {DEEPEST[architecture]: 1.0}
    return wanted


def make_perceptual(config: RunConfig) -> Perceptual | None:
    """Return the perceptual loss of a run, None where its weight is 0.

    Raises
    ------
    TrunkError
        No weights and no fallback named, weights missing or with another hash, unknown layer.
    """
    if not config.gamma_per or config.perceptual == "none":
        return None
    name = config.perceptual
    architecture = name.removesuffix("-random")
    weights = _layers(config, architecture)
    if name not in TRUNKS:
        return _fallback(config, name, weights)
    if config.trunk:
        path = Path(config.trunk)
        trunk = load_trunk(name, path, config.trunk_sha256 or None, layers=tuple(weights))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        facts = {"wanted": name, "used": name, "fallback": False, "sha256": digest}
        if config.perceptual_layers and weights != config.perceptual_layers:
            facts["layers"] = weights
        return Perceptual(FeatureLoss(trunk, weights, config.perceptual_distance), facts)
    if config.perceptual_fallback == "none":
        raise TrunkError(
            f"perceptual is {name}, but no weights: give trunk=FILE "
            "(never downloaded), or perceptual_fallback=gradient"
        )
    if config.perceptual_fallback == "vgg19-random" and name != "vgg19":
        weights = {DEEPEST["vgg19"]: 1.0}
    return _fallback(config, config.perceptual_fallback, weights)


def describe(facts: dict | None, config: RunConfig) -> str:
    """Return what `facts` have otherwise than the recipe, empty where nothing."""
    if facts and facts["fallback"]:
        return f"no weights of {facts['wanted']}: the perceptual loss is {facts['used']}"
    if facts and "layers" in facts:
        layers = [", ".join(names) for names in (config.perceptual_layers, facts["layers"])]
        return f"{facts['used']} has no {layers[0]}: the perceptual loss takes {layers[1]}"
    return ""
