"""Networks whose features judge images: VGG, AlexNet, SqueezeNet 1.1; hashes of their weights.

Sources: Simonyan and Zisserman, ICLR 2015 (VGG-19, configuration E; VGG-16, configuration D);
Krizhevsky, arXiv 1404.5997 (AlexNet); Iandola et al., arXiv 1602.07360 (SqueezeNet 1.1). VGG-16 is
that of the authors (Caffe: BGR in 0..255 minus the mean of ImageNet), the others are as torchvision
has them. ESRGAN takes conv5_4 of VGG-19 before its ReLU (Wang et al., ECCVW 2018).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

Rgb = tuple[float, float, float]


class TrunkError(ValueError):
    """A trunk or its weights cannot be used; the message is one line."""


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


def _vgg(*counts: int) -> nn.Sequential:
    """Five groups of convolutions, each of so many layers, with a pooling behind each."""
    layers: list[nn.Module] = []
    n_in = 3
    for width, n_convs in zip((64, 128, 256, 512, 512), counts, strict=True):
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
        *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(_Fire(64, 16, 64), _Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(_Fire(128, 32, 128), _Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(_Fire(256, 48, 192), _Fire(384, 48, 192)),
        *(_Fire(384, 64, 256), _Fire(512, 64, 256)),
    )


@dataclass(frozen=True)
class TrunkSpec:
    """A trunk: its layers by name, what it expects of its input, the hashes of its weights.

    `layers` maps names to positions in the sequence; `mean` and `std` apply to [0, 1], in the order
    of the input channels, which makes no difference to a grey image but for them; `sha256` is
    the (beginning of the) hash of the published file; `min_size` the smallest image side that
    reaches its end; `tensors_sha256` the hash of its tensors (`trunk_files.tensors_sha256`), which
    identifies them in another file; empty where it is not known.
    """

    build: Callable[[], nn.Sequential]
    layers: dict[str, int]
    mean: Rgb
    std: Rgb
    sha256: str
    min_size: int
    tensors_sha256: str = ""


_TORCHVISION: tuple[Rgb, Rgb] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CAFFE: tuple[Rgb, Rgb] = ((103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255,) * 3)
FIRES = dict(zip((f"fire{i}" for i in range(2, 10)), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))

TRUNKS = {
    # Convolutions before their ReLU.
    "vgg19": TrunkSpec(
        partial(_vgg, 2, 2, 4, 4, 4),
        {"conv1_2": 2, "conv2_2": 7, "conv3_4": 16, "conv4_4": 25, "conv5_4": 34},
        *_TORCHVISION,
        sha256="dcbb9e9d",
        min_size=16,
    ),
    "vgg16": TrunkSpec(
        partial(_vgg, 2, 2, 3, 3, 3),
        {"conv1_2": 2, "conv2_2": 7, "conv3_3": 14, "conv4_3": 21, "conv5_3": 28},
        *_CAFFE,
        sha256="2c61f5f5918f8a16",
        min_size=16,
        tensors_sha256="60253beff5c46d3e0cdbd0a2e645608e25aa9a7a28ede91578eb3189b630413c",
    ),
    # The ReLU outputs that LPIPS reads.
    "alexnet": TrunkSpec(
        _alexnet,
        {"relu1": 1, "relu2": 4, "relu3": 7, "relu4": 9, "relu5": 11},
        *_TORCHVISION,
        sha256="7be5be79",
        min_size=31,
        tensors_sha256="16e3615cbc4b68943179350605a5fc0fccc18736a0a5ea5baed241c05dbc0ec7",
    ),
    "squeezenet": TrunkSpec(
        _squeezenet,
        {"conv1": 1, **FIRES},
        *_TORCHVISION,
        sha256="b8a52dc0",
        min_size=17,
        tensors_sha256="d78713941b65ab7d75844bae3bef992bfbb15f76af34669da7fc2b9850643cef",
    ),
}


def trunk_spec(name: str) -> TrunkSpec:
    """Return a trunk of `TRUNKS`; an unknown name is a `TrunkError`."""
    if name not in TRUNKS:
        raise TrunkError(f"unknown trunk {name!r}, known: {', '.join(TRUNKS)}")
    return TRUNKS[name]
