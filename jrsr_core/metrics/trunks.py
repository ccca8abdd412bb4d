"""Frozen ImageNet networks whose features judge images: VGG-19, AlexNet, SqueezeNet 1.1.

    phi_l(x) = output of layer l of the trunk for a magnitude x in [0, 1], grey on three channels

Their weights are never downloaded: a local file is named and its sha256 checked before anything in
it is read. Files as torchvision publishes them (.pth, restricted to tensors), safetensors with the
same keys, or for SqueezeNet the ONNX file of Caffe lineage. Used by the perceptual losses of
`training` and by the feature distances of `jrsr_core.metrics`.

Sources: Simonyan and Zisserman, ICLR 2015 (VGG-19, configuration E); Krizhevsky, arXiv 1404.5997
(AlexNet, torchvision's); Iandola et al., arXiv 1602.07360 (SqueezeNet 1.1). ESRGAN takes conv5_4 of
VGG-19 before its ReLU (Wang et al., ECCVW 2018).
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from .onnx_weights import read_onnx_weights

Rgb = tuple[float, float, float]


class TrunkError(ValueError):
    """Trunk weights that must not be used; the message is one line."""


class _Fire(nn.Module):
    """SqueezeNet's module: 1x1 squeeze, then 1x1 and 3x3 expansions side by side."""

    def __init__(self, n_in: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(n_in, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, n_in, y, x)`` -> ``(batch, 2 expand, y, x)``, after ReLU."""
        x = torch.relu(self.squeeze(x))
        return torch.relu(torch.cat((self.expand1x1(x), self.expand3x3(x)), 1))


def _vgg19() -> nn.Sequential:
    layers, n_in = [], 3
    for width, n_convs in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(n_convs):
            layers += [nn.Conv2d(n_in, width, 3, padding=1), nn.ReLU()]
            n_in = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _alexnet() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


def _squeezenet() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(_Fire(64, 16, 64), _Fire(128, 16, 64), nn.MaxPool2d(3, 2)),
        *(_Fire(128, 32, 128), _Fire(256, 32, 128), nn.MaxPool2d(3, 2)),
        *(_Fire(256, 48, 192), _Fire(384, 48, 192)),
        *(_Fire(384, 64, 256), _Fire(512, 64, 256)),
    )


@dataclass(frozen=True)
class TrunkSpec:
    """A trunk: its layers by name, what it expects of its input, the hash of its weights.

    `layers` maps names to positions in the sequence; `mean` and `std` apply to [0, 1]; `sha256` is
    the (beginning of the) published hash; `min_size` the least image side that reaches its end.
    """

    build: Callable[[], nn.Sequential]
    layers: dict[str, int]
    mean: Rgb
    std: Rgb
    sha256: str
    min_size: int


_TORCHVISION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Caffe: blue, green, red in 0..255 minus the mean of ImageNet.
_CAFFE = (tuple(m / 255 for m in (104.0, 117.0, 123.0)), (1 / 255,) * 3)
_FIRES = dict(zip((f"fire{i}" for i in range(2, 10)), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))

TRUNKS = {
    # Convolutions before their ReLU.
    "vgg19": TrunkSpec(
        _vgg19,
        {"conv1_2": 2, "conv2_2": 7, "conv3_4": 16, "conv4_4": 25, "conv5_4": 34},
        *_TORCHVISION,
        sha256="dcbb9e9d",
        min_size=16,
    ),
    # The ReLU outputs that LPIPS reads.
    "alexnet": TrunkSpec(
        _alexnet,
        {"relu1": 1, "relu2": 4, "relu3": 7, "relu4": 9, "relu5": 11},
        *_TORCHVISION,
        sha256="7be5be79",
        min_size=31,
    ),
    "squeezenet": TrunkSpec(
        _squeezenet,
        {"conv1": 1, **_FIRES},
        *_CAFFE,
        sha256="21f25e3d9254af93e6218a359469fac714a017b3f9035c0f5c4acbf9a3ff7233",
        min_size=31,
    ),
}


class Trunk(nn.Module):
    """A frozen trunk that returns the features of named layers; stays in evaluation mode."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, layers: tuple[str, ...]) -> None:
        super().__init__()
        spec = _spec(name)
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
        for position, layer in enumerate(self.features):
            x = layer(x)
            if position in self.taps:
                features[self.taps[position]] = x
        return features


def _spec(name: str) -> TrunkSpec:
    if name not in TRUNKS:
        raise TrunkError(f"unknown trunk {name!r}, known: {', '.join(TRUNKS)}")
    return TRUNKS[name]


def _onnx_keys(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys of the Caffe SqueezeNet as those of `_squeezenet`; its classifier is left out."""
    tensors = {}
    for key, value in weights.items():
        layer, kind = key.removesuffix("_0").rsplit("_", 1)
        position = {"conv1": "0"}.get(layer)
        if "/" in layer:
            fire, part = layer.split("/")
            position = f"{_FIRES[fire]}.{part.replace('squeeze1x1', 'squeeze')}"
        if position is not None:
            tensors[f"{position}.{'weight' if kind == 'w' else 'bias'}"] = value
    return tensors


def read_checked(path: Path, sha256: str) -> bytes:
    """Return the bytes of a file whose sha256 begins with `sha256` (8 digits or more).

    Raises
    ------
    TrunkError
        No such file, too short a hash, or another hash.
    """
    if not path.is_file():
        raise TrunkError(f"{path}: no such file (trunk weights are never downloaded)")
    if len(sha256) < 8:
        raise TrunkError(f"{path.name}: sha256 {sha256!r} has fewer than 8 digits")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if not digest.startswith(sha256.lower()):
        raise TrunkError(f"{path.name}: sha256 is {digest[:16]}..., expected {sha256[:16]}...")
    return content


def read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """Return the tensors of a checked .safetensors, .onnx or .pth file; errors as `read_checked`.

    The .pth files that torchvision and LPIPS publish are pickles: their hash is checked first and
    the restricted reader accepts nothing but tensors.
    """
    content = read_checked(path, sha256)
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(content)
        if path.suffix == ".onnx":
            return read_onnx_weights(content)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise TrunkError(f"{path.name}: not readable as weights ({reason})") from error


def load_trunk(
    name: str, path: Path, sha256: str | None = None, *, layers: tuple[str, ...] | None = None
) -> Trunk:
    """Return the trunk `name` of `TRUNKS` with the weights of a local file.

    Parameters
    ----------
    path
        .pth or .safetensors with torchvision's keys, or the .onnx file of SqueezeNet.
    sha256
        Hash the file must have; None for the published one.
    layers
        Names of the features wanted; None for all.

    Raises
    ------
    TrunkError
        Unknown trunk or layer, missing file, wrong hash, weights of another network.
    """
    spec = _spec(name)
    trunk = Trunk(name, tuple(spec.layers) if layers is None else layers)
    path = Path(path)
    tensors = read_tensors(path, sha256 or spec.sha256)
    if path.suffix == ".onnx":
        tensors = _onnx_keys(tensors)
    tensors = {k.removeprefix("features."): v for k, v in tensors.items()}
    for key, value in trunk.features.state_dict().items():
        found = tuple(tensors[key].shape) if key in tensors else None
        if found != tuple(value.shape):
            wanted = tuple(value.shape)
            raise TrunkError(f"{path.name}: {name} needs {key} {wanted}, file has {found}")
    trunk.features.load_state_dict({k: tensors[k].float() for k in trunk.features.state_dict()})
    return trunk


def random_trunk(name: str, seed: int = 0, *, layers: tuple[str, ...] | None = None) -> Trunk:
    """Return a trunk with random weights (He), the same for every seed: no pre-training in it."""
    trunk = Trunk(name, tuple(_spec(name).layers) if layers is None else layers)
    generator = torch.Generator().manual_seed(seed)
    for parameter in trunk.features.parameters():
        if parameter.ndim == 4:
            std = (2 / parameter[0].numel()) ** 0.5
            parameter.data.copy_(std * torch.randn(parameter.shape, generator=generator))
        else:
            parameter.data.zero_()
    return trunk
