"""Noise level of an ACS that another scan measured, maybe with another receiver gain or unit.

The gain of a reference scan changes neither the directions of its noise nor the maps, but the noise
level of the image does not hold for it: one that is far too high takes signal for noise, one that
is far too low noise for signal. The level of the image is believed as long as that of the ACS
itself (`noise`) is within `MAX_RATIO` of it, because it is the more precise one.
"""

import torch

from jrsr_core.data import KSpaceSlice, KSpaceVolume
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.tensors import energy

from .noise import estimate_noise_std, noise_std_of
from .windows import kernel_width

MAX_RATIO = 2.0
"""Between both levels, either way. The estimate of a small ACS is right within 25 %; a level that
is wrong by a factor of 3 changes an image of 8 coils at 20 dB by 3 %."""

EQUAL = 1e-6
"""Relative squared difference up to which samples are the same."""


def acs_noise_std(slice_: KSpaceSlice) -> float:
    """Return sqrt(E|n|^2) of a sample of the ACS of a slice; raises as `noise.noise_std_of`."""
    return _believed(noise_std_of(slice_), slice_)


def volume_acs_noise_std(volume: KSpaceVolume, noise_std: float) -> float:
    """Return sqrt(E|n|^2) of a sample of the ACS of a volume.

    `noise_std` is that of the volume, for one without a level for its ACS.
    """
    level = noise_std if volume.acs_noise_std is None else volume.acs_noise_std
    power = torch.stack([energy(plane) for plane in volume.acs])
    return _believed(level, volume.position(int(power.argmax())))


def _believed(level: float, slice_: KSpaceSlice) -> float:
    """Return the level, or that of the ACS where both are too far from each other."""
    if is_own_centre(slice_) or not _allows_estimate(slice_):
        return level
    found = estimate_noise_std(slice_.acs, torch.ones_like(slice_.acs[0].real))
    # The estimate of one coil is an upper bound: what is below it may be right.
    is_too_low = slice_.n_coils > 1 and level * MAX_RATIO < found
    return found if is_too_low or level > MAX_RATIO * found else level


def _allows_estimate(slice_: KSpaceSlice) -> bool:
    try:
        kernel_width((slice_.acs.shape[0], slice_.acs.shape[1], slice_.acs.shape[2]))
    except ValueError:
        return False
    return bool(slice_.acs.any())


def is_own_centre(slice_: KSpaceSlice) -> bool:
    """Return whether the ACS is the centre of the k-space of the slice, not of another scan."""
    shape = (slice_.acs.shape[-2], slice_.acs.shape[-1])
    measured = crop_or_pad(slice_.mask, shape)
    acs = measured * slice_.acs
    difference = measured * crop_or_pad(slice_.kspace, shape) - acs
    return float(energy(difference)) <= EQUAL * float(energy(acs)) > 0
