"""Whether a stated noise level can be that of the samples; one that is far too high is not used.

Noise lines, a `noise_file`, the header of a scan, or the caller of the Python API may state any
level: that of another receiver gain, in another unit, of lines with signal. With one that is far
too high a model smooths the image away, and every contradiction of the measurement looks like
noise. A level that explains a large part of the measurement is therefore compared with the noise of
the samples. The whitening remains: a gain changes no image, and all images of a scan are whitened
alike. A level that is too low is not judged: it makes images suspect rather than unsuspicious.
"""

import math
from dataclasses import replace
from typing import overload

import torch
from torch import Tensor

from jrsr_core.data import KSpaceSlice, KSpaceVolume
from jrsr_core.tensors import energy

from .noise import estimate_noise_std, has_own_lines, outer_noise_std

LARGE_SHARE = 0.3
"""Part of the measurement, as the root of the power, up to which a level is believed: less cannot
hide a contradiction, and needs no estimate for every slice. Ten coils reach it at 20 dB."""

MAX_RATIO = 3.0
"""Stated level over that of the samples above which it is not used. In 80 simulated scans of 0 to
30 dB (1 to 32 coils, 2-D and 3-D, averages, partial Fourier, separate calibration) the right level
is at most 1.09 of it; the dwell time of noise lines, where a header lacks it, may cost another
factor of 1.4."""


def excessive_noise_note(data: KSpaceSlice | KSpaceVolume) -> str:
    """Return a sentence about a stated noise level that is far too high; empty for any other."""
    if data.noise_std is None:
        return ""
    slice_ = data if isinstance(data, KSpaceSlice) else _strongest_plane(data)
    stated = data.noise_std
    if not explained_share(slice_) > LARGE_SHARE:
        return ""
    found = noise_of_samples(slice_)
    # Noise is even in k-space. A mask in the image removes it from the central estimate, a filter
    # of the raw data from the outermost samples.
    outer = outer_noise_std(slice_.kspace, slice_.mask)
    if not stated > MAX_RATIO * (max(found, outer) if math.isfinite(outer) else found):
        return ""
    ratio = stated / max(found, torch.finfo(torch.float32).tiny)
    return (
        f"stated noise level {stated:.3g} is {ratio:.3g} times that of the samples, {found:.3g}: "
        "it is not used, the level is estimated; check the unit and the receiver gain"
    )


@overload
def without_excessive_noise(data: KSpaceSlice) -> KSpaceSlice: ...
@overload
def without_excessive_noise(data: KSpaceVolume) -> KSpaceVolume: ...
def without_excessive_noise(data: KSpaceSlice | KSpaceVolume) -> KSpaceSlice | KSpaceVolume:
    """Return a slice or volume without a stated noise level that is far too high, with a note."""
    note = excessive_noise_note(data)
    if not note:
        return data
    notes = (*data.notes, note)
    if isinstance(data, KSpaceSlice):
        return replace(data, noise_std=None, notes=notes)
    return replace(data, noise_std=None, acs_noise_std=None, notes=notes)


def plane_energy(volume: KSpaceVolume) -> Tensor:
    """Return the energy of the k-space of every readout position, float64 ``(x,)``."""
    return torch.stack([energy(plane) for plane in volume.hybrid])


def explained_share(slice_: KSpaceSlice) -> float:
    """Return the root of the power of the stated noise over that of the samples.

    It is 0 for samples without power.
    """
    power = slice_.kspace.abs().double().square().sum((1, 2))
    n_samples = int((slice_.mask > 0).sum()) * int((power > 0).sum())
    total = float(power.sum())
    return math.sqrt(n_samples / total) * (slice_.noise_std or 0.0) if total > 0 else 0.0


def noise_of_samples(slice_: KSpaceSlice) -> float:
    """Return the noise level of the samples of a slice, or an upper bound of it.

    It is estimated from the central lines: a filter of the raw data lowers the outermost samples,
    which are the measure only where the centre has too few lines. Lines of a separate calibration
    are none, since they may have another bandwidth.
    """
    if not has_own_lines(slice_):
        return outer_noise_std(slice_.kspace, slice_.mask)
    return estimate_noise_std(slice_.kspace, slice_.mask)


def _strongest_plane(volume: KSpaceVolume) -> KSpaceSlice:
    return volume.position(int(plane_energy(volume).argmax()))
