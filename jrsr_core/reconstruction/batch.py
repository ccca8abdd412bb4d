"""Slices of one mask in one batch for the model, and the samples of its output."""

import dataclasses

import torch
from torch import Tensor

from jrsr_core.calibration.calibrate import CalibratedSlice
from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.physics.sense import SenseOperator


def stack_slices(slices: list[CalibratedSlice]) -> CalibratedSlice:
    """Return calibrated slices of one mask as one batch; `scale` is that of the first."""
    if len(slices) == 1:
        return slices[0]
    first = slices[0].sense
    sense = SenseOperator(
        torch.cat([s.sense.csm for s in slices]),
        first.mask,
        has_map_axis=first.coils.has_map_axis,
        lr_shape=first.lr_shape,
    )
    return dataclasses.replace(
        slices[0],
        kspace=torch.cat([s.kspace for s in slices]),
        sense=sense,
        noise_std=torch.cat([s.noise_std for s in slices]),
        seconds=sum(s.seconds for s in slices),
        folded=_stack_folded(slices),
        notes=tuple(dict.fromkeys(note for s in slices for note in s.notes)),
    )


def _stack_folded(slices: list[CalibratedSlice]) -> Tensor | None:
    known = [s.folded for s in slices if s.folded is not None]
    if not known:
        return None
    nothing = torch.zeros_like(known[0])
    return torch.cat([nothing if s.folded is None else s.folded for s in slices])


def sample_of(output: ModelOutput, index: int) -> ModelOutput:
    """Return sample `index` of a batch as a batch of 1, with its share of the time."""
    n, one = len(output.image), slice(index, index + 1)
    return dataclasses.replace(
        output,
        image=output.image[one],
        low_resolution=output.low_resolution[one],
        residual=None if output.residual is None else output.residual[one],
        prior=None if output.prior is None else output.prior[one],
        prior_weight=None if output.prior_weight is None else output.prior_weight[one],
        first=None if output.first is None else output.first[one],
        seconds={name: value / n for name, value in output.seconds.items()},
    )
