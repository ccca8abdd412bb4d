"""Frozen ImageNet networks whose features judge images: VGG, AlexNet, SqueezeNet 1.1.

    phi_l(x) = output of layer l of the trunk for a magnitude x in [0, 1], grey on three channels

Used by the perceptual losses of `training` and by the distances of `jrsr_core.metrics`.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from .trunk_files import read_trunk
from .trunk_networks import TRUNKS, TrunkError, trunk_spec

__all__ = ["TRUNKS", "Trunk", "TrunkError", "load_trunk"]


class Trunk(nn.Module):
    """A frozen trunk that returns the features of named layers; stays in evaluation mode."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, layers: tuple[str, ...]) -> None:
        super().__init__()
        spec = trunk_spec(name)
        for layer in layers:
            if layer not in spec.layers:
                known = ", ".join(spec.layers)
                raise TrunkError(f"{name} has no layer {layer!r}, known: {known}")
        self.name, self.min_size = name, spec.min_size
        self.taps = {spec.layers[layer]: layer for layer in layers}
        self.features = spec.build()[: max(self.taps) + 1]
        self.register_buffer("mean", torch.tensor(spec.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(spec.std)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Trunk":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, magnitude: Tensor) -> dict[str, Tensor]:
        """Return features ``(batch, channels, y', x')`` by layer for ``(batch, y, x)`` in [0, 1].

        Raises
        ------
        TrunkError
            The image is smaller than the trunk can take.
        """
        if min(magnitude.shape[-2:]) < self.min_size:
            size = "x".join(map(str, magnitude.shape[-2:]))
            raise TrunkError(f"{self.name} takes {self.min_size} pixels or more, image is {size}")
        x = (magnitude[:, None].expand(-1, 3, -1, -1) - self.mean) / self.std
        x = x.contiguous(memory_format=torch.channels_last)
        features = {}
        for position, layer in enumerate(self.features.children()):
            x = layer(x)
            if position in self.taps:
                features[self.taps[position]] = x
        return features


def load_trunk(
    name: str, path: Path, sha256: str | None = None, *, layers: tuple[str, ...] | None = None
) -> Trunk:
    """Return the trunk `name` of `TRUNKS` with the weights of a local file.

    Parameters
    ----------
    path
        .pth or .safetensors with torchvision's keys.
    sha256
        Hash the file must have; None for that of the published file, or of its tensors.
    layers
        Names of the features wanted; None for all.

    Raises
    ------
    TrunkError
        Unknown trunk or layer, missing file, wrong hash, weights of another network.
    """
    spec = trunk_spec(name)
    trunk = Trunk(name, tuple(spec.layers) if layers is None else layers)
    features = trunk.features
    features.load_state_dict(read_trunk(name, Path(path), features.state_dict(), sha256))
    features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs
    return trunk
