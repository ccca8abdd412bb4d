"""A larger network that begins as a smaller one of its kind (Chen et al., Net2Net, ICLR 2016).

Widened: the first channels carry the small network, its outputs read nothing from the new ones,
and these start as in any new network. Deepened: the blocks added behind a trunk have residual
branches of zero, after which an RRDB multiplies by 1 + 0.2; the convolution behind the trunk takes
that back. So the large network gives what the small one gives, to rounding, and everything
it learns comes on top. The networks of a refinement start as those of the first pass.
"""

import torch
from torch import nn

from jrsr_core.models.jrsr import JrsrDc
from jrsr_core.models.layers import (
    RESIDUAL_SCALE,
    ResidualDenseBlock,
    SpatialFeatureTransform,
    zero_init,
)
from jrsr_core.models.rec import ProximalNetwork
from jrsr_core.models.sr import SrModule

Groups = list[tuple[int, int]]
"""Channels side by side at an input: how many the small network has, how many the large one."""


class GrowthError(ValueError):
    """A network that cannot begin as the other."""


@torch.no_grad()
def grow(model: nn.Module, small: nn.Module) -> None:
    """Give `model` the weights of `small`, a narrower and shallower network of the same kind.

    Both consist of RRDBs: Rec and SR modules, alone or together.

    Raises
    ------
    GrowthError
        `small` is of another kind, wider or deeper somewhere, or has other parts.
    """
    _grow(model, small, "")


def _grow(module: nn.Module, small: nn.Module, name: str) -> None:
    if type(module) is not type(small):
        raise GrowthError(f"{name or 'it'} is {type(module).__name__}, was {type(small).__name__}")
    if isinstance(module, nn.Conv2d) and isinstance(small, nn.Conv2d):
        _grow_conv(module, small, [(small.in_channels, module.in_channels)], name)
    elif isinstance(module, ResidualDenseBlock) and isinstance(small, ResidualDenseBlock):
        _grow_dense(module, small, name)
    else:
        _grow_parts(module, small, name)
    if isinstance(module, SrModule) and isinstance(small, SrModule):
        _deepen(module, len(small.trunk))


def _grow_parts(module: nn.Module, small: nn.Module, name: str) -> None:
    """Copy the parameters of a module and grow the modules in it."""
    if isinstance(module, ProximalNetwork) and isinstance(small, ProximalNetwork):
        if module.unshuffle != small.unshuffle:
            raise GrowthError(f"{name}: unshuffle is {module.unshuffle}, was {small.unshuffle}")
    own = dict(module.named_parameters(recurse=False))
    for key, tensor in small.named_parameters(recurse=False):
        if own[key].shape != tensor.shape:
            shapes = f"{tuple(own[key].shape)}, was {tuple(tensor.shape)}"
            raise GrowthError(f"{_joined(name, key)} is {shapes}; only convolutions can be widened")
        own[key].copy_(tensor)
    children = dict(module.named_children())
    for key, child in small.named_children():
        if key not in children:
            raise GrowthError(f"{_joined(name, key)} is missing")
        _grow(children.pop(key), child, _joined(name, key))
    if isinstance(module, JrsrDc) and isinstance(small, JrsrDc) and "refinement" in children:
        _grow_parts(children.pop("refinement"), small, _joined(name, "refinement"))
    is_trunk = isinstance(module, nn.ModuleList) and name.endswith("trunk")
    if children and not is_trunk and not isinstance(module, SrModule):
        new = _joined(name, next(iter(children)))
        raise GrowthError(f"{new} is new; only an SR trunk can be deepened")


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}".lstrip(".")


def _grow_conv(conv: nn.Conv2d, small: nn.Conv2d, groups: Groups, name: str) -> None:
    n_out, n_in = small.weight.shape[:2]
    if conv.kernel_size != small.kernel_size or conv.out_channels < n_out:
        raise GrowthError(f"{name} is {tuple(conv.weight.shape)}, was {tuple(small.weight.shape)}")
    if sum(was for was, _ in groups) != n_in or any(now < was for was, now in groups):
        raise GrowthError(f"{name} has {conv.in_channels} inputs, had {n_in}")
    conv.weight[:n_out] = 0
    if conv.bias is not None and small.bias is not None:
        conv.bias[:n_out] = small.bias
    here = before = 0
    for was, now in groups:
        conv.weight[:n_out, here : here + was] = small.weight[:, before : before + was]
        here, before = here + now, before + was


def _grow_dense(block: ResidualDenseBlock, small: ResidualDenseBlock, name: str) -> None:
    """Grow a dense block, whose convolutions read its input and the outputs of those before."""
    pairs = [
        (new, old)
        for new, old in zip(block.convs, small.convs, strict=True)
        if isinstance(new, nn.Conv2d) and isinstance(old, nn.Conv2d)
    ]
    features = (small.fuse.out_channels, block.fuse.out_channels)
    growth = (pairs[0][1].out_channels, pairs[0][0].out_channels)
    for i, (new, old) in enumerate(pairs):
        _grow_conv(new, old, [features] + i * [growth], f"{name}.convs.{i}")
    _grow_conv(block.fuse, small.fuse, [features] + len(pairs) * [growth], f"{name}.fuse")
    if block.skip is not None and small.skip is not None:
        _grow_conv(block.skip, small.skip, [features], f"{name}.skip")
    elif block.skip is not small.skip:
        raise GrowthError(f"{name}: only one of both has the extra skips")


def _deepen(sr: SrModule, n_blocks: int) -> None:
    """Silence the blocks behind the first `n_blocks`, and let the next convolution undo 1.2^n."""
    for block in sr.trunk[n_blocks:]:
        for module in block.modules():
            if isinstance(module, ResidualDenseBlock):
                zero_init(module.fuse)
            elif isinstance(module, SpatialFeatureTransform):
                for branch in (module.scale, module.shift):
                    if isinstance(branch[-1], nn.Conv2d):
                        zero_init(branch[-1])
    sr.conv_trunk.weight /= (1 + RESIDUAL_SCALE) ** (len(sr.trunk) - n_blocks)
