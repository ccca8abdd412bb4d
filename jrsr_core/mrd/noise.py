"""Whitening of a scan from its own noise lines.

W is made from the noise lines alone and then scaled to the bandwidth of the image lines,

    W_image = sqrt(b * dwell_image / dwell_noise) W_noise,

because noise power goes with bandwidth, and the receiver filter removes part of the power of the
noise lines (b = relativeReceiverNoiseBandwidth) but none in the middle of the band, where the
image is. After it E|n|^2 = 1 in every channel. Images have to stay in the scanner's own scale, so
what is applied is s W, s^2 = mean over the live channels of E|n|^2 before whitening: white noise of
equal level comes out as it went in, and E|n|^2 = s^2 afterwards.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..calibration.whitening import dead_channels, noise_covariance, whitening_matrix
from .errors import BadScan
from .lines import LineSource
from .plan import ScanPlan


@dataclass(frozen=True, eq=False)
class Whitening:
    """s W ``(coil, coil)``, and s = sqrt(E|n|^2) of one sample of an image line after it."""

    matrix: Tensor
    noise_std: float


def scan_whitening(source: LineSource, plan: ScanPlan) -> Whitening | None:
    """Return how to whiten, or None where the scan has no noise lines.

    Raises
    ------
    BadScan
        Noise lines that give no covariance: too few, not finite, empty.
    """
    if not len(plan.noise):
        return None
    noise = torch.cat([_samples(source, i) for i in plan.noise], dim=-1)
    try:
        matrix = whitening_matrix(noise)
    except ValueError as error:
        raise BadScan(f"noise lines: {error}") from None
    power = noise_covariance(noise).diagonal().real
    n_live = len(power) - len(dead_channels(matrix))
    level = math.sqrt(float(power.sum()) / n_live)
    first_image = next(iter(plan.groups.values()))[0]
    factor = bandwidth_factor(source.heads, plan, int(first_image))
    return Whitening(level * matrix, level / factor)


def bandwidth_factor(heads: np.ndarray, plan: ScanPlan, image_line: int) -> float:
    """sqrt(b dwell_image / dwell_noise); unknown dwell times count as equal."""
    dwell_image = float(heads["sample_time_us"][image_line])
    dwell_noise = float(heads["sample_time_us"][plan.noise[0]])
    ratio = dwell_image / dwell_noise if dwell_image > 0 and dwell_noise > 0 else 1.0
    return math.sqrt(plan.header.noise_bandwidth * ratio)


def _samples(source: LineSource, index: int) -> Tensor:
    return torch.from_numpy(source.samples(np.array([index]))[0])
