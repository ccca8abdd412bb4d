"""Data consistency on the HR grid (ours, beyond the paper).

    x = argmin |A x - b|^2 + mu |x - x_SR|^2,    (A^H A + mu) x = A^H b + mu x_SR

A = g M H F C is the operator on the HR grid: the measured k-space is the masked centre of HR
k-space, or a band of it where the readout was acquired at high resolution. mu = sigma^2 / tau^2,
the noise variance over the variance of the error of x_SR, which is learned as tau^2 = tau_0^2 +
(tau_1 sigma)^2: a noisier scan has a worse prior image as well. Outside training tau is multiplied
by `CAUTION`: on a scan unlike the simulated ones the error of the networks is larger than in
training, that of the measurement is not.

The image keeps the noise of what was measured. `denoise` d from 0 to 1 gives x_SR more weight, most
of all where it is even:

    mu(r) = sigma^2 / (CAUTION^(2 - d) tau^2 e(r)^d),    e = max(g / mean(g), 0.1)

g is the root mean square of the gradient of |x_SR| in a window around r: networks err where there
is detail, noise is everywhere. At 1 the image is near that of a Wiener filter (Wiener, 1949): noise
is removed as far as its level and the error of the networks allow, and the image agrees with the
measurement within the noise only. Weights by frequency instead gain nothing over one number: at the
measured samples the error of x_SR is 3 to 17 sigma^2 throughout.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Real
from typing import TypedDict

import torch
from torch import Tensor, nn

from jrsr_core.physics.sense import SenseOperator
from jrsr_core.tensors import local_mean

from .implicit import regularised_solve
from .names import NEEDS_CONSISTENCY

CAUTION = 4.0

LEAST_NOISE = 1e-4
"""Standard deviation of the noise, relative to the image, below which it is taken for this."""

N_ITER = 5
"""Steps of CG from x_SR. With 8 the residual is 0.0708 instead of 0.0709, where the noise alone is
0.0705, and SSIM 0.882 instead of 0.884 (6 test slices of brain-5x)."""

N_ITER_BY_PLACE = 8
"""Steps where mu differs from place to place: 0.02 dB above 5 (48 validation slices)."""

WINDOW = 5
"""Pixels of the window, along both axes, in which detail is averaged."""

LEAST_ERROR = 0.1
"""Of the mean: a smaller error is not believed, and steps of CG would be too few for it."""

_denoise: ContextVar[float] = ContextVar("denoise", default=0.0)


@contextmanager
def denoising(denoise: float) -> Iterator[None]:
    """Remove measured noise in every data consistency within the context; see `check_denoise`.

    It belongs to a call and not to a network, which several reconstructors may share.
    """
    token = _denoise.set(denoise)
    try:
        yield
    finally:
        _denoise.reset(token)


class Outcome(TypedDict):
    """Fields of a `ModelOutput` that data consistency fills in."""

    image: Tensor
    prior: Tensor
    prior_weight: Tensor
    denoise: float


class DataConsistency(nn.Module):
    """Bring an HR image into agreement with what was measured, as far as the noise allows."""

    def __init__(self, *, tau0: float = 0.03, tau1: float = 0.5, n_iter: int = N_ITER) -> None:
        super().__init__()
        self.log_tau0 = nn.Parameter(torch.tensor(math.log(tau0)))
        self.log_tau1 = nn.Parameter(torch.tensor(math.log(tau1)))
        self.n_iter = n_iter

    @property
    def denoise(self) -> float:
        """How far the noise of what was measured is removed, see `denoising`."""
        return _denoise.get()

    def mu(self, noise_std: Tensor, denoise: float = 0.0) -> Tensor:
        """Return the weight of the prior image ``(batch, 1, 1)`` for the noise of one sample.

        Without `denoise` it is that of an image that keeps what was measured.
        """
        variance = noise_std.clamp_min(LEAST_NOISE).square()
        tau2 = torch.exp(2 * self.log_tau0) + torch.exp(2 * self.log_tau1) * variance
        caution = 1.0 if self.training else CAUTION ** (2 - denoise)
        return (variance / (caution * tau2))[:, None, None]

    def forward(
        self, prior: Tensor, zero_filled: Tensor, sense: SenseOperator, noise_std: Tensor
    ) -> Tensor:
        """Return the consistent image; `zero_filled` is A^H b on the HR grid."""
        mu = self.mu(noise_std, self.denoise)
        if self.training or not self.denoise:
            return regularised_solve(prior, mu, zero_filled, sense, self.n_iter)
        mu = mu / relative_error(prior) ** self.denoise
        n_iter = max(self.n_iter, N_ITER_BY_PLACE)
        return regularised_solve(prior, mu, zero_filled, sense, n_iter)

    def outcome(
        self, prior: Tensor, zero_filled: Tensor, sense: SenseOperator, noise_std: Tensor
    ) -> Outcome:
        """Return the consistent image, and what a `ModelOutput` says of this step."""
        return Outcome(
            image=self(prior, zero_filled, sense, noise_std),
            prior=prior,
            prior_weight=self.mu(noise_std),
            denoise=self.denoise,
        )


def default_weight(noise_std: Tensor) -> Tensor:
    """Return mu ``(batch, 1, 1)`` for a system that has no data consistency.

    It is that of a `DataConsistency` before training, in an image that keeps what was measured.
    """
    return DataConsistency().eval().to(noise_std.device).mu(noise_std)


def relative_error(prior: Tensor) -> Tensor:
    """Return how large the squared error of x_SR is by place, relative to its mean.

        e = max(g / mean(g), LEAST_ERROR),    g^2 = mean over a window of |grad |x_SR||^2

    Complex ``(batch, y, x)`` becomes float32 of that shape; an image without detail becomes 1.
    """
    magnitude = prior.abs()
    power = torch.zeros_like(magnitude)
    power[:, :-1] += magnitude.diff(dim=-2).square()
    power[:, :, :-1] += magnitude.diff(dim=-1).square()
    detail = local_mean(power, WINDOW).sqrt()
    mean = detail.mean((-2, -1), keepdim=True)
    return torch.where(mean > 0, detail / mean, 1.0).clamp_min(LEAST_ERROR)


def check_denoise(model: nn.Module, denoise: float) -> None:
    """Check that the data consistency of a system can remove the measured noise this far.

    Raises
    ------
    ValueError
        Not from 0 to 1, or above 0 for a system without data consistency.
    """
    if isinstance(denoise, bool) or not isinstance(denoise, Real) or not 0 <= denoise <= 1:
        raise ValueError(f"denoise is {denoise!r}, expected a number from 0 to 1")
    if denoise and not any(isinstance(m, DataConsistency) for m in model.modules()):
        raise ValueError(f"denoise is {denoise:g}, but only {NEEDS_CONSISTENCY}")
