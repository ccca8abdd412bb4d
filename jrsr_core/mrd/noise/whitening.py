"""Whitening matrix of a scan from noise lines: its own, or those of an earlier scan.

W is made from the noise lines alone and then scaled to the bandwidth of the image lines,

    W_image = sqrt(b * dwell_image / dwell_noise) W_noise,

because noise power goes with bandwidth, and the receiver filter removes part of the power of the
noise lines (b = relativeReceiverNoiseBandwidth) but none in the middle of the band, where the
image is. After it E|n|^2 = 1 in every channel. Images have to stay in the scanner's own scale, so
what is applied is s W, s^2 = mean over the live channels of E|n|^2 before whitening: white noise of
equal level comes out as it went in, and E|n|^2 = s^2 afterwards. Channels that are white already
come out as they went in, too.

Ours; the whitening matrix itself is that of `calibration.whitening`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from jrsr_core.calibration.whitening import noise_covariance, unused_channels, whitening_matrix
from jrsr_core.mrd.errors import BadScan

from .measured import NoiseData


@dataclass(frozen=True, eq=False)
class Whitening:
    """How to whiten lines: s W ``(coil, coil)``.

    `noise_std` is s = sqrt(E|n|^2) of one sample of an image line of `dwell_us` after whitening.
    `silent` and `dependent` are the channels that get no weight: those without noise, and those
    whose noise is that of others.
    """

    matrix: Tensor
    noise_std: float
    dwell_us: float
    silent: tuple[int, ...] = ()
    dependent: tuple[int, ...] = ()

    def dwell_factor(self, dwell_us: float) -> float:
        """Return the noise at another dwell time over that at its own; 1 where one is unknown."""
        is_known = self.dwell_us > 0 and dwell_us > 0
        return math.sqrt(self.dwell_us / dwell_us) if is_known else 1.0


def make_whitening(noise: NoiseData, image_dwell_us: float) -> Whitening:
    """Return how to whiten image lines of a dwell time in us.

    Raises
    ------
    BadScan
        Noise lines that give no covariance: too few, not finite, empty.
    """
    samples, unit = _in_range(torch.from_numpy(noise.samples))
    try:
        matrix = whitening_matrix(samples)
    except ValueError as error:
        raise BadScan(f"noise lines: {error}") from None
    power = noise_covariance(samples).diagonal().real
    unused = unused_channels(matrix)
    live = [c for c in range(len(power)) if c not in unused]
    level = math.sqrt(float(power[live].mean()))
    noise_std = level * unit / _bandwidth_factor(noise, image_dwell_us)
    is_silent = (power == 0).tolist()
    return Whitening(
        level * matrix,
        noise_std,
        image_dwell_us,
        silent=tuple(c for c in unused if is_silent[c]),
        dependent=tuple(c for c in unused if not is_silent[c]),
    )


def _in_range(samples: Tensor) -> tuple[Tensor, float]:
    """Return samples divided by a unit, which is 1 unless W of the samples would leave float32."""
    peak = float(torch.view_as_real(samples).abs().max()) if samples.numel() else 0.0
    if not math.isfinite(peak) or peak == 0 or 1e-15 < peak < 1e15:
        return samples, 1.0
    unit = 2.0 ** math.floor(math.log2(peak))
    return (samples.to(torch.complex128) / unit).to(torch.complex64), unit


def _bandwidth_factor(noise: NoiseData, image_dwell_us: float) -> float:
    """Return sqrt(b dwell_image / dwell_noise); unknown dwell times count as equal."""
    is_known = image_dwell_us > 0 and noise.dwell_us > 0
    return math.sqrt(noise.bandwidth * (image_dwell_us / noise.dwell_us if is_known else 1.0))
