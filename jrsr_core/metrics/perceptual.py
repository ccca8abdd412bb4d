"""Distances of a magnitude x and its truth t in the features of a frozen network.

    phi_l(.) / |phi_l(.)|: features of layer l, every pixel's channels on unit length
    SqueezeNet distance   mean over layers of mean_r sum_c (phi_lc(x) - phi_lc(t))^2
    LPIPS                 sum over layers of  mean_r sum_c w_lc (phi_lc(x) - phi_lc(t))^2

LPIPS (Zhang et al., CVPR 2018; version 0.1) reads AlexNet at its five ReLUs, with published weights
w >= 0. The SqueezeNet distance, ours, has no such weights: it ranks systems, but is no LPIPS.
Magnitudes are divided by the maximum of the truth and clamped to [0, 1]; the scaling that LPIPS
prescribes for [-1, 1] is that of torchvision for [0, 1].
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .trunk_files import read_tensors
from .trunks import Trunk, TrunkError, load_trunk

SQUEEZENET_LAYERS = ("conv1", "fire3", "fire5", "fire7", "fire9")
LPIPS_LAYERS = ("relu1", "relu2", "relu3", "relu4", "relu5")
HEADS_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
"""Of ``alex.pth`` as published with LPIPS 0.1."""

EPS = 1e-10


class UnitFeatureDistance(nn.Module):
    """Weighted squared distance of features on unit length, one number per slice."""

    def __init__(self, trunk: Trunk, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.trunk, self.weights = trunk, weights

    @torch.no_grad()
    def forward(self, magnitude: Tensor, target: Tensor) -> Tensor:
        """Return the distance ``(batch,)`` of magnitudes ``(batch, y, x)``."""
        if magnitude.shape != target.shape:
            shapes = f"image is {tuple(magnitude.shape)}, target is {tuple(target.shape)}"
            raise ValueError(shapes)
        peak = target.amax((-2, -1), keepdim=True)
        found, wanted = (self.trunk((x / peak).clamp(0, 1)) for x in (magnitude, target))
        total = magnitude.new_zeros(magnitude.shape[0])
        for layer, weight in self.weights.items():
            pair = (normalize(f[layer], dim=1, eps=EPS) for f in (found, wanted))
            difference = torch.sub(*pair).square()
            total = total + (weight * difference).sum(1).mean((-2, -1))
        return total


def squeezenet_distance(squeezenet: Path) -> UnitFeatureDistance:
    """Return the distance in features of SqueezeNet 1.1; `squeezenet` has torchvision's weights.

    Raises
    ------
    TrunkError
        The file is not there or not the published one.
    """
    trunk = load_trunk("squeezenet", squeezenet, layers=SQUEEZENET_LAYERS)
    weight = torch.tensor(1 / len(SQUEEZENET_LAYERS))
    return UnitFeatureDistance(trunk, dict.fromkeys(SQUEEZENET_LAYERS, weight))


def lpips(alexnet: Path, heads: Path) -> UnitFeatureDistance:
    """Return LPIPS; `alexnet` has torchvision's weights, `heads` ``alex.pth`` of LPIPS 0.1.

    Raises
    ------
    TrunkError
        A file is not there or not the published one.
    """
    trunk = load_trunk("alexnet", alexnet, layers=LPIPS_LAYERS)
    return UnitFeatureDistance(trunk, lpips_weights(heads))


def lpips_weights(heads: Path) -> dict[str, Tensor]:
    """Return the weights w_l ``(channels, 1, 1)`` of a file of LPIPS heads."""
    tensors = read_tensors(heads, HEADS_SHA256)
    weights = {}
    for i, layer in enumerate(LPIPS_LAYERS):
        key = f"lin{i}.model.1.weight"
        if key not in tensors:
            raise TrunkError(f"{heads.name}: no tensor {key}, found {', '.join(sorted(tensors))}")
        weights[layer] = tensors[key].float()[0]
    return weights
