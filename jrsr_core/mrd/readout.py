"""One readout: direction, echo position, oversampling.

The encoded readout of N samples covers a field of view wider than the image. Its crop to n samples
is done where it belongs, in the image: IFFT over N, centre n, FFT over n; index N//2 stays the
centre n//2. With orthonormal transforms image values and the noise per sample are unchanged.

An asymmetric echo has its centre (`center_sample`) off the middle: the samples are placed so that
the echo lies at N//2, and what was not measured stays zero and unmarked in the mask.

A readout pixel of at most `HR_READOUT` phase-encode pixels is high resolution already: the LR grid
then has fewer samples than the readout.
"""

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import torch
from torch import Tensor

from jrsr_core.data import Encoding
from jrsr_core.physics.fourier import fft, ifft
from jrsr_core.physics.resolution import crop_or_pad

from .errors import UnsupportedScan
from .lines import REVERSE, has_flag

HR_READOUT = 0.75
"""Readout pixel over phase-encode pixel up to which a 2-D readout counts as acquired at HR."""


@dataclass(frozen=True)
class ReadoutKind:
    """What lines have to share to be processed together."""

    n_samples: int
    center: int
    discard_pre: int
    discard_post: int
    reverse: bool


def readout_size(encoding: Encoding) -> int:
    """Return the samples that remain of an encoded readout after removal of oversampling."""
    n_encoded = encoding.encoding_matrix[2]
    return min(n_encoded, max(1, round(n_encoded / encoding.readout_oversampling)))


def lr_readout_size(encoding: Encoding) -> int | None:
    """Return the readout samples of the LR grid of a readout acquired at HR, None for any other.

    The LR pixel is square, and so is the HR pixel of half its size; a readout finer than that stays
    as fine as it is: the HR grid, of twice as many samples, holds all that were measured.
    """
    if encoding.is_3d:
        return None
    n = readout_size(encoding)
    _, ny, n_encoded = encoding.encoding_matrix
    _, fov_y, fov_x = encoding.encoding_fov_mm
    ratio = (fov_x / n_encoded) / (fov_y / ny)
    if ratio > HR_READOUT + 1e-6:
        return None
    return max(round(n * ratio), (n + 1) // 2)


def lr_scale(encoding: Encoding) -> float:
    """Return the factor on k-space that keeps the scale of the image on the LR grid."""
    n_lr = lr_readout_size(encoding)
    return 1.0 if n_lr is None else (n_lr / readout_size(encoding)) ** 0.5


def readout_kinds(heads: np.ndarray) -> dict[ReadoutKind, np.ndarray]:
    """Positions in `heads` of the lines of each kind."""
    names = ("number_of_samples", "center_sample", "discard_pre", "discard_post")
    columns = [heads[name].astype(np.int64) for name in names] + [has_flag(heads, REVERSE)]
    keys, member = np.unique(np.stack(columns, axis=-1), axis=0, return_inverse=True)
    return {
        ReadoutKind(*(int(v) for v in key[:4]), reverse=bool(key[4])): np.flatnonzero(
            member.reshape(-1) == i
        )
        for i, key in enumerate(keys)
    }


@dataclass(frozen=True)
class Readout:
    """How readouts of one kind reach the grid of `n_out` samples.

    `n_full` is the grid of the samples as they come, `start` where the first of them lies on it.
    """

    kind: ReadoutKind
    n_full: int
    start: int
    n_out: int

    @property
    def span(self) -> slice:
        """Measured samples on the output grid."""
        step = self.n_out / self.n_full
        first = max(self.start + self._kept.start, 0)
        last = min(self.start + self._kept.stop, self.n_full) - 1
        low = ceil((first - self.n_full // 2) * step) + self.n_out // 2
        high = floor((last - self.n_full // 2) * step) + self.n_out // 2
        # Every sample measured is every sample known, whatever the rounding at the edge says.
        if (first, last) == (0, self.n_full - 1):
            return slice(0, self.n_out)
        return slice(max(low, 0), min(high + 1, self.n_out))

    @property
    def _kept(self) -> slice:
        kind = self.kind
        pre, post = kind.discard_pre, kind.discard_post
        if kind.reverse:
            pre, post = post, pre
        return slice(pre, max(kind.n_samples - post, pre))

    def __call__(self, samples: Tensor) -> Tensor:
        """Complex ``(..., sample)`` as acquired -> ``(..., n_out)``, echo at ``n_out//2``."""
        if not samples.numel():
            # No line is left, or lines of nothing: an FFT of an empty batch is an error of MKL.
            return samples.new_zeros((*samples.shape[:-1], self.n_out))
        if self.kind.reverse:
            samples = samples.flip(-1)
        low = max(self.start + self._kept.start, 0)
        high = min(self.start + self._kept.stop, self.n_full)
        full = samples[..., low - self.start : high - self.start]
        if high - low < self.n_full:
            full = samples.new_zeros((*samples.shape[:-1], self.n_full))
            full[..., low:high] = samples[..., low - self.start : high - self.start]
        if self.n_full == self.n_out:
            return full
        cropped = fft(crop_or_pad(ifft(full, -1), (self.n_out,)), -1)
        if self.span == slice(0, self.n_out):
            return cropped
        outside = torch.ones(self.n_out, dtype=torch.bool)
        outside[self.span] = False
        return cropped.masked_fill(outside, 0)


def has_oversampling(heads: np.ndarray, encoding: Encoding) -> bool:
    """Whether a line has more samples than the image needs."""
    return bool((heads["number_of_samples"] > readout_size(encoding)).any())


def plan_readout(kind: ReadoutKind, encoding: Encoding) -> Readout:
    """Place readouts of one kind.

    More samples than the image needs, here or in other lines of the encoding, mean that
    oversampling is still there, and so does an echo with more on one side than half the image has;
    else it was removed on the way.

    Raises
    ------
    UnsupportedScan
        If the readout is longer than the header allows.
    """
    n_encoded, n_out = encoding.encoding_matrix[2], readout_size(encoding)
    if kind.n_samples > n_encoded:
        raise UnsupportedScan(
            f"lines have {kind.n_samples} samples, the encoded matrix {n_encoded} along x"
        )
    center = kind.center
    longer = max(center, kind.n_samples - center) if 0 < center < kind.n_samples else 0
    # One more: a reversed line may count its centre from the other end.
    is_oversampled = kind.n_samples > n_out or longer > n_out // 2 + 1
    n_full = n_encoded if is_oversampled or encoding.keeps_oversampling else n_out
    # Some systems remove oversampling and leave center_sample as it was; then the echo is central.
    # A head without it (0) says the same.
    if not 0 < center < kind.n_samples:
        center = kind.n_samples // 2
    elif kind.reverse:
        center = kind.n_samples - 1 - center
    return Readout(kind, n_full, n_full // 2 - center, n_out)


def measured_share(heads: np.ndarray, encoding: Encoding) -> float:
    """Return the share of the readouts that was measured, 1 without an asymmetric echo."""
    if not len(heads):
        return 1.0
    n_samples = 0
    for kind, members in readout_kinds(heads).items():
        span = plan_readout(kind, encoding).span
        n_samples += len(members) * (span.stop - span.start)
    return n_samples / (len(heads) * readout_size(encoding))
