"""A larger network that begins as a smaller one of its kind.

Widened: the first channels carry the small network, its outputs read nothing from the new ones,
and these start as in any new network. Deepened: the blocks added behind a trunk have residual
branches of zero, after which an RRDB multiplies by 1 + 0.2; the convolution behind the trunk takes
that back. So the large network gives what the small one gives, to rounding, and everything
it learns comes on top (function-preserving growth: Chen et al., Net2Net, ICLR 2016).
"""

import torch
from torch import Tensor, nn

from jrsr_core.models.layers import RESIDUAL_SCALE, RRDB, ResidualDenseBlock, zero_init
from jrsr_core.models.rec import ProximalNetwork
from jrsr_core.models.sr import SrModule

Groups = list[tuple[int, int]]
"""Channels that lie side by side at an input: how many of the small network, how many now."""


class GrowthError(ValueError):
    """A network that cannot begin as the other."""


def _grow_conv(conv: nn.Conv2d, small: nn.Conv2d, groups: Groups, name: str) -> None:
    n_out, n_in = small.weight.shape[:2]
    if conv.kernel_size != small.kernel_size or conv.out_channels < n_out:
        raise GrowthError(f"{name} is {tuple(conv.weight.shape)}, was {tuple(small.weight.shape)}")
    if sum(was for was, _ in groups) != n_in or any(now < was for was, now in groups):
        raise GrowthError(f"{name} has {conv.in_channels} inputs, had {n_in}")
    conv.weight[:n_out] = 0
    if conv.bias is not None:
        conv.bias[:n_out] = small.bias
    here = before = 0
    for was, now in groups:
        conv.weight[:n_out, here : here + was] = small.weight[:, before : before + was]
        here, before = here + now, before + was


def _grow_dense(block: ResidualDenseBlock, small: ResidualDenseBlock, name: str) -> None:
    features = (small.fuse.out_channels, block.fuse.out_channels)
    growth = (small.convs[0].out_channels, block.convs[0].out_channels)
    for i, (conv, old) in enumerate(zip(block.convs, small.convs, strict=True)):
        _grow_conv(conv, old, [features] + i * [growth], f"{name}.convs.{i}")
    _grow_conv(block.fuse, small.fuse, [features] + 4 * [growth], f"{name}.fuse")
    if block.skip is not None and small.skip is not None:
        _grow_conv(block.skip, small.skip, [features], f"{name}.skip")
    elif block.skip is not small.skip:
        raise GrowthError(f"{name}: only one of both has the extra skips")


def _silence(block: RRDB) -> None:
    """Let an RRDB multiply by 1 + 0.2, nothing else, until it learns."""
    for dense in block.dense:
        zero_init(dense.fuse)
    for sft in block.sft:
        zero_init(sft.scale[-1])
        zero_init(sft.shift[-1])


def _deepen(sr: SrModule, n_blocks: int) -> None:
    """Silence the blocks behind the first `n_blocks`, and let the next convolution undo 1.2^n."""
    for block in sr.trunk[n_blocks:]:
        _silence(block)
    sr.conv_trunk.weight /= (1 + RESIDUAL_SCALE) ** (len(sr.trunk) - n_blocks)


def _copy(parameter: Tensor, small: Tensor, name: str) -> None:
    if parameter.shape != small.shape:
        shapes = f"{tuple(parameter.shape)}, was {tuple(small.shape)}"
        raise GrowthError(f"{name} is {shapes}; only convolutions can be widened")
    parameter.copy_(small)


def _check_grid(prox: ProximalNetwork, small: ProximalNetwork, name: str) -> None:
    if prox.unshuffle != small.unshuffle:
        raise GrowthError(f"{name}: unshuffle is {prox.unshuffle}, was {small.unshuffle}")


def _grow(module: nn.Module, small: nn.Module, name: str) -> None:
    if type(module) is not type(small):
        raise GrowthError(f"{name or 'it'} is {type(module).__name__}, was {type(small).__name__}")
    if isinstance(module, ProximalNetwork):
        _check_grid(module, small, name)
    if isinstance(module, nn.Conv2d):
        _grow_conv(module, small, [(small.in_channels, module.in_channels)], name)
        return
    if isinstance(module, ResidualDenseBlock):
        _grow_dense(module, small, name)
        return
    for key, tensor in small._parameters.items():
        if tensor is not None:
            _copy(module._parameters[key], tensor, f"{name}.{key}".lstrip("."))
    children = dict(module.named_children())
    for key, child in small.named_children():
        if key not in children:
            raise GrowthError(f"{name}.{key} is missing")
        _grow(children.pop(key), child, f"{name}.{key}".lstrip("."))
    if isinstance(module, SrModule):
        _deepen(module, len(small.trunk))
    elif children and not (isinstance(module, nn.ModuleList) and name.endswith("trunk")):
        raise GrowthError(f"{name}.{next(iter(children))} is new; only an SR trunk can be deepened")


@torch.no_grad()
def grow(model: nn.Module, small: nn.Module) -> None:
    """Give `model` the weights of `small`, a network of the same kind, narrower and shallower.

    For what is made of RRDBs: Rec and SR modules, alone or together.

    Raises
    ------
    GrowthError
        A network of another kind, one that is wider or deeper somewhere, or other parts.
    """
    _grow(model, small, "")
