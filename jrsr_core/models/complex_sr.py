"""The SR module on complex images and what follows it, as both passes of `jrsr-dc` use them.

    x_SR = up(x) + p SR(p* A^H b, p* x, noise, undersampling [, p* d])

p is the smooth phase of x on either grid: without it SR is given a nearly real image, whatever the
coils do. d is detail on the HR grid that is known already, four pixels of it as channels.
"""

import torch
from torch import Tensor

from jrsr_core.physics.resolution import sinc_interpolate
from jrsr_core.tensors import to_channels, to_complex

from .consistency import DataConsistency, Outcome
from .interfaces import Clock
from .layers import to_lr_channels
from .measurement import Measurement
from .phase import smooth_phase
from .sr import SrModule

DETAIL_CHANNELS = 8
"""Channels of d: real and imaginary part of the four HR pixels of an LR pixel."""


def super_resolve(
    sr: SrModule, x: Tensor, measured: Measurement, detail: Tensor | None = None
) -> Tensor:
    """Return x_SR, complex ``(batch, 2y, 2x)``, of an image x on the LR grid."""
    phase, hr_phase = smooth_phase(x, measured.hr_shape)
    known = to_channels(x * phase.conj())
    inputs = [to_channels(measured.zero_filled * phase.conj()), known, measured.conditions]
    if detail is not None:
        inputs.append(to_lr_channels(to_channels(detail * hr_phase.conj()), measured.lr_shape))
    added = to_complex(sr(torch.cat(inputs, 1), known))
    return sinc_interpolate(x, measured.hr_shape) + hr_phase * added


def consistent_image(
    sr: SrModule,
    consistency: DataConsistency,
    x: Tensor,
    measured: Measurement,
    clock: Clock,
    detail: Tensor | None = None,
) -> Outcome:
    """Return what data consistency makes of `super_resolve`; both are laps of the clock."""
    x_sr = super_resolve(sr, x, measured, detail)
    clock.lap("sr")
    outcome = consistency.outcome(x_sr, measured.adjoint, measured.sense, measured.noise_std)
    clock.lap("consistency")
    return outcome
