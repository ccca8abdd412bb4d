"""Whitening matrix of a scan from noise lines: its own, or those of an earlier scan.

W is made from the noise lines alone and then scaled to the bandwidth of the image lines,

    W_image = sqrt(b * dwell_image / dwell_noise) W_noise,

because noise power goes with bandwidth, and the receiver filter removes part of the power of the
noise lines (b = relativeReceiverNoiseBandwidth) but none in the middle of the band, where the
image is. After it E|n|^2 = 1 in every channel. Images have to stay in the scanner's own scale, so
what is applied is s W, s^2 = mean over the live channels of E|n|^2 before whitening: white noise of
equal level comes out as it went in, and E|n|^2 = s^2 afterwards. Channels that are white already
come out as they went in, too.

Several noise scans count as one: their lines are brought to the bandwidth of the first. Ours; the
whitening matrix itself is that of `calibration.whitening`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from jrsr_core.calibration.whitening import noise_covariance, unused_channels, whitening_matrix

from .errors import BadScan, UnsupportedScan
from .header import ScanHeader
from .lines import NOISE, LineSource, has_flag

PEAKED = 4.0
"""E|n|^4 / (E|n|^2)^2 of the middle channel above which noise lines hold signal; see `signal_note`.
With 256 samples that of noise is below 3."""


@dataclass(frozen=True, eq=False)
class NoiseData:
    """Noise of the receivers.

    Attributes
    ----------
    samples
        complex64 ``(coil, sample)``.
    dwell_us
        Dwell time in us; 0 where it is unknown.
    bandwidth
        Effective over nominal receiver bandwidth (b).
    coil_names
        Those of the header it came with; empty if it has none.
    """

    samples: Tensor
    dwell_us: float
    bandwidth: float
    coil_names: tuple[str, ...] = ()

    def of_channels(self, channels: list[int]) -> "NoiseData":
        """Return the noise of some channels."""
        return replace(self, samples=self.samples[channels], coil_names=())

    def in_order(self, coil_names: tuple[str, ...]) -> "NoiseData":
        """Return the noise with its channels in the order of these coils.

        Unchanged unless both sides name every channel.

        Raises
        ------
        UnsupportedScan
            Noise of other coils.
        """
        own, n_coils = self.coil_names, self.samples.shape[0]
        if own == coil_names or not len(own) == len(coil_names) == n_coils:
            return self
        if {*own} != {*coil_names}:
            ours = next(name for name in own if name not in coil_names)
            theirs = next(name for name in coil_names if name not in own)
            raise UnsupportedScan(f"noise has coil {ours!r}, scan has {theirs!r} instead")
        order = [own.index(name) for name in coil_names]
        return replace(self, samples=self.samples[order], coil_names=coil_names)


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


def read_noise(source: LineSource, lines: np.ndarray, bandwidth: float) -> NoiseData | None:
    """Return the samples of noise lines, or None where there are none.

    Parameters
    ----------
    lines
        Indices of the noise lines; all have the same channels.
    bandwidth
        Effective over nominal receiver bandwidth (b) of their scan.
    """
    if not len(lines):
        return None
    dwell = source.heads["sample_time_us"][lines].astype(np.float64)
    first = float(dwell[0])
    # E|n|^2 ~ 1 / dwell; unknown dwell times count as that of the first line.
    ratio = np.where((dwell > 0) & (first > 0), dwell / max(first, 1e-12), 1.0)
    parts = [
        math.sqrt(r) * torch.from_numpy(source.samples(np.array([i]))[0])
        for i, r in zip(lines, ratio, strict=True)
    ]
    return NoiseData(torch.cat(parts, dim=-1), first, bandwidth)


def noise_of_scan(header: ScanHeader, source: LineSource) -> NoiseData | None:
    """Return the noise of a scan, None where it has no noise lines."""
    lines = np.flatnonzero(has_flag(source.heads, NOISE))
    noise = read_noise(source, lines, header.noise_bandwidth)
    return noise and replace(noise, coil_names=header.coil_names)


def signal_note(noise: NoiseData) -> str:
    """Return a sentence about noise lines that hold signal, empty for noise.

    Noise of a channel has the same power all along, signal an echo: E|n|^4 / (E|n|^2)^2 is 2 for
    complex Gaussian noise, and the number of samples for a single peak.
    """
    power = noise.samples.abs().double().square()
    mean = power.mean(1)
    peaks = power.square().mean(1)[mean > 0] / mean[mean > 0].square()
    if not len(peaks) or not float(peaks.median()) > PEAKED:
        return ""
    return (
        "noise lines hold signal (their power is not even): the coils are not whitened, the noise "
        "level is estimated"
    )


def make_whitening(noise: NoiseData, image_dwell_us: float, n_coils: int) -> Whitening:
    """Return how to whiten image lines of a dwell time in us.

    Raises
    ------
    BadScan
        Noise lines that give no covariance: too few, not finite, empty.
    UnsupportedScan
        Noise of other coils than those of the image.
    """
    if noise.samples.shape[0] != n_coils:
        raise UnsupportedScan(f"noise has {noise.samples.shape[0]} channels, scan has {n_coils}")
    samples, unit = _in_range(noise.samples)
    try:
        matrix = whitening_matrix(samples)
    except ValueError as error:
        raise BadScan(f"noise lines: {error}") from None
    power = noise_covariance(samples).diagonal().real
    unused = unused_channels(matrix)
    live = [c for c in range(n_coils) if c not in unused]
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
