"""Coil maps tested against, or estimated from, the own calibration lines of a slice.

Frames of a slice share the maps of one ACS, and a reference scan gives maps to all slices. What
appears later (contrast agent, an inserted object, motion) lies where such maps are zero or of other
coils, and would be erased. With u the coil images of the own ACS, under a Hann window against
ringing, and S the maps, of unit norm,

    unexplained = max_r [|u|^2 - |S^H u|^2] / max_r |u|^2,    both averaged over 3 x 3 pixels

is the strongest signal that the maps cannot explain. It costs one small FFT.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from jrsr_core.acs import cut_acs
from jrsr_core.data import KSpaceSlice
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import crop_or_pad, decimate
from jrsr_core.tensors import hann

from .acs_noise import is_own_centre
from .coils import CoilCalibration, calibrate_coils, compress_acs
from .noise import noise_std_of
from .settings import CalibrationSettings

LIMIT = 0.012
"""Unexplained part above which shared maps are compared with those of the own lines. Maps of the
same lines leave up to 0.003, those of the same object moved by two pixels 0.005; a disc of two
pixels as bright as the object, which costs 1 dB, leaves 0.014 and one of five pixels 0.24
(8 coils, 20 to 60 dB)."""

NOISE_PEAK = 8.0
"""Times the mean power of noise that its largest local average stays below."""

WORSE = 2.0
"""Times the unexplained part of the own maps that the shared ones have to leave to be dropped."""

TEST_LINES = 24
"""Central lines that the maps are tested against, as many as their estimate uses."""


def own_acs(slice_: KSpaceSlice, kernel_width: int) -> Tensor | None:
    """Return the ACS among the samples of the slice; None where it is too small for maps.

    It is too small below two kernels along an axis, unless the axis itself is shorter.
    """
    try:
        acs = cut_acs(slice_.kspace, slice_.mask)
    except ValueError:
        return None
    needed = (min(2 * kernel_width, n) for n in slice_.kspace.shape[-2:])
    return acs if all(n >= m for n, m in zip(acs.shape[-2:], needed, strict=True)) else None


def other_acs(slice_: KSpaceSlice, kernel_width: int) -> Tensor | None:
    """Return the own ACS of a slice that was given other calibration lines, else None."""
    own = own_acs(slice_, kernel_width)
    if own is None or not slice_.acs.numel():
        return own
    return None if is_own_centre(slice_) else own


def unexplained(acs: Tensor, slice_: KSpaceSlice, coils: CoilCalibration) -> tuple[float, float]:
    """Return the unexplained part of an ACS of the slice, and the mean power of its noise.

    Both are relative to the largest local power. `coils` are the maps that are tested.
    """
    ny, nx = (min(n, TEST_LINES) for n in acs.shape[-2:])
    if acs.shape[-1] == slice_.mask.shape[-1]:
        nx = acs.shape[-1]  # Whole readouts: without ringing along x.
    acs = crop_or_pad(acs, (ny, nx))
    window = hann(ny)[:, None] * (hann(nx) if nx < slice_.mask.shape[-1] else torch.ones(nx))
    window = window.to(acs.device)
    virtual = compress_acs(acs, coils.compressor, slice_.mask.shape[-1])
    power = _images(window * acs, slice_).abs().square().sum(0)
    images = _images(window * virtual, slice_)
    sets = coils.csm if coils.csm.ndim == 4 else coils.csm[None]
    if coils.folded is not None:
        sets = torch.cat((sets, coils.folded[None]))
    unit = sets / torch.linalg.vector_norm(sets, dim=1, keepdim=True).clamp_min(1e-6)
    unit = decimate(unit, slice_.lr_shape)
    explained = (unit.conj() * images).sum(1).abs().square().sum(0)
    rest = _local_power((power - explained).clamp_min(0.0))
    top = float(_local_power(power).amax())
    if not top > 0:
        return 0.0, 0.0
    variance = noise_std_of(slice_) ** 2 if float(rest.amax()) > LIMIT * top else 0.0
    noise = variance * float(window.square().sum()) * acs.shape[0] / power.numel()
    return float(rest.amax()) / top, noise / top


def coils_that_explain(
    slice_: KSpaceSlice, coils: CoilCalibration, settings: CalibrationSettings
) -> CoilCalibration:
    """Return `coils`, or those of the slice's own calibration lines where these explain it better.

    The maps are replaced if they leave more than `LIMIT` and the peaks of noise unexplained, and
    `WORSE` times as much as the own maps. The result then carries a note for the report.
    """
    acs = other_acs(slice_, settings.kernel_width)
    if acs is None:
        return coils
    rest, noise = unexplained(acs, slice_, coils)
    if rest <= LIMIT + NOISE_PEAK * noise:
        return coils
    own = calibrate_coils(replace(slice_, acs=acs), settings)
    if rest <= WORSE * unexplained(acs, slice_, own)[0]:
        return coils
    note = f"shared coil maps leave {rest:.1%} of the image unexplained: own lines calibrate it"
    return replace(own, note=note)


def coils_of_own_lines(
    slice_: KSpaceSlice, settings: CalibrationSettings
) -> CoilCalibration | None:
    """Return the calibration from the own lines of a slice that was given others, else None."""
    acs = other_acs(slice_, settings.kernel_width)
    if acs is None:
        return None
    note = "image contradicted the measurement with shared coil maps: own lines calibrate it"
    return replace(calibrate_coils(replace(slice_, acs=acs), settings), note=note)


def _images(kspace: Tensor, slice_: KSpaceSlice) -> Tensor:
    return ifft2c(crop_or_pad(kspace, slice_.lr_shape))


def _local_power(power: Tensor) -> Tensor:
    """Return the mean over 3 x 3 pixels; unlike `tensors.local_mean` with 0 outside the image."""
    return avg_pool2d(power[None], 3, stride=1, padding=1)[0]
