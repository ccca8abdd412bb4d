"""Trunks without published weights."""

import torch

from jrsr_core.metrics.trunk_networks import trunk_spec
from jrsr_core.metrics.trunks import Trunk


def random_trunk(name: str, seed: int = 0, *, layers: tuple[str, ...] | None = None) -> Trunk:
    """Return a trunk with random weights (He), which depend on the seed alone."""
    trunk = Trunk(name, tuple(trunk_spec(name).layers) if layers is None else layers)
    generator = torch.Generator().manual_seed(seed)
    for parameter in trunk.features.parameters():
        if parameter.ndim == 4:
            std = (2 / parameter[0].numel()) ** 0.5
            parameter.data.copy_(std * torch.randn(parameter.shape, generator=generator))
        else:
            parameter.data.zero_()
    return trunk
