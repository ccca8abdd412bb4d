"""Agreement of a finished image with the measurement, and maps of what was not measured.

    residual = |M (A x - b)| / |b|   over the measured samples of all coils

At the level of the noise, sqrt(n_samples) sigma / |b|, an image explains the measurement; a larger
residual contradicts it, a smaller one fits noise.

Two maps show where a network may have invented something (ours; after Bhadra et al., IEEE TMI 2021,
who divide hallucinations into those within the measured space and those in the null space). x_SR
is the image of the networks, x the delivered image:

    taken_back = |x_SR - x|,                        x = argmin |A x - b|^2 + mu |x - x_SR|^2
    unmeasured = |mu (A^H A + mu)^-1 x_SR|
    hallucination = (taken_back + excess(unmeasured)) / level,    level^2 = E|noise|^2 + tau^2

`taken_back` contradicts the measurement: for a true x_SR it is noise. A system without data
consistency delivers x_SR itself, contradictions included. `unmeasured` is the share of x that comes
from x_SR and not from the samples: all of it where nothing was measured, mu / (A^H A + mu) of it
where something was, which is much where the noise is high. It contains the edges of the object as
well and need not be wrong; its excess is the part stronger than the measured detail around allows,
see `detail`. The excess is computed with a weight mu of at most `EXCESS_WEIGHT`, because the larger
weights of noisy scans would count a share of every structure, the measured ones as well. `level` is
what is to be expected at a place without an invention: the noise of `taken_back`,
(A^H A + mu)^-1 A^H n, measured with seeded noise n, and the error tau of the networks that the
training found, mu = sigma^2 / (CAUTION tau)^2. So `hallucination` has no unit: where x_SR is
faithful it is about 1, and exceeds `MAP_ALARM` at few places.
Exactly x = (A^H A + mu)^-1 A^H b + mu (A^H A + mu)^-1 x_SR. The other maps are in image units. A
magnitude image is given the smooth phase of the LR reconstruction first.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from jrsr_core.calibration.calibrate import CalibratedSlice
from jrsr_core.data import MAP_MEANING, UNITLESS_MAPS
from jrsr_core.models.consistency import CAUTION, LEAST_NOISE, default_weight
from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.models.phase import smooth_phase
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.physics.solvers import conjugate_gradient
from jrsr_core.tensors import local_mean

from .detail import excess_detail, outer_band

EXCESS_WEIGHT = 0.003
NOISE_DRAWS = 2
NOISE_WINDOW = 9
"""Width in pixels over which the power of the seeded noise is averaged."""

LEAST_POWER = 0.01
"""Power of a channel over that of the noise of one channel, below which it measures nothing: a
channel that is zero, or a virtual one for which too few channels are live (up to 1e-3, rounding).
"""

N_ITER = 12
TOLERANCE = 1e-4


@dataclass(frozen=True)
class ResidualPower:
    """Power of the k-space of slices, and of parts of it; float64 ``(batch,)``.

    Attributes
    ----------
    measured
        |b|^2.
    contradicted
        |M (A x - b)|^2.
    noise
        n_samples sigma^2.
    """

    measured: Tensor
    contradicted: Tensor
    noise: Tensor

    def residuals(self) -> tuple[float, float]:
        """Return the k-space residual of all slices together, and what noise explains of it."""
        measured = self.measured.sum()
        parts = (self.contradicted.sum() / measured, self.noise.sum() / measured)
        return float(parts[0].sqrt()), float(parts[1].sqrt())


def residual_power(output: ModelOutput, calibrated: CalibratedSlice) -> ResidualPower:
    """Return what the HR images contradict of their measurement, and what noise explains."""
    image = _with_phase(output.image, output, calibrated)
    difference = calibrated.sense.single_map()(image) - calibrated.kspace
    power = channel_power(calibrated.kspace)
    contradicted = channel_power(difference).sum(1)
    return ResidualPower(power.sum(1), contradicted, noise_power(calibrated, power))


def channel_power(kspace: Tensor) -> Tensor:
    """Return the power of every channel of k-space, float64 ``(batch, coil)`` on the CPU."""
    return kspace.abs().square().sum((2, 3), dtype=torch.float64).cpu()


def noise_power(calibrated: CalibratedSlice, power: Tensor) -> Tensor:
    """Return the expected power of the noise in the k-space of slices, float64 ``(batch,)``.

    `power` is that of the channels (`channel_power`); `noise_std` is the level of those that
    measure something, the others have no noise.
    """
    n_samples = float(calibrated.sense.mask.sum())
    one = n_samples * calibrated.noise_std.double().square().cpu()
    return one * (power >= LEAST_POWER * one[:, None]).sum(1)


def expected_residual(calibrated: CalibratedSlice) -> float:
    """Return the residual that the noise alone explains."""
    power = channel_power(calibrated.kspace)
    return float((noise_power(calibrated, power).sum() / power.sum()).sqrt())


def hallucination_maps(output: ModelOutput, calibrated: CalibratedSlice) -> dict[str, Tensor]:
    """Return the maps of `MAP_MEANING`, float32 ``(batch, y, x)``, in their units."""
    sense = calibrated.sense.single_map()
    if output.prior is None or output.prior_weight is None:
        prior = _with_phase(output.image, output, calibrated)
        mu = default_weight(calibrated.noise_std)
        residual = sense.adjoint(calibrated.kspace - sense(prior))
        consistent = prior + _solve(sense, mu, residual)
    else:
        prior, consistent, mu = output.prior, output.image, output.prior_weight
        if output.denoise:
            # The maps are those of the image that keeps what was measured.
            residual = sense.adjoint(calibrated.kspace - sense(prior))
            consistent = prior + _solve(sense, mu, residual)
    taken_back = (prior - consistent).abs()
    unmeasured = _solve(sense, mu, mu * prior)
    weak = mu.clamp_max(EXCESS_WEIGHT)
    excess = excess_detail(_solve(sense, weak, weak * prior), consistent, sense.kspace_shape)
    suspect = (taken_back + excess) / expected_level(calibrated, mu)
    maps = (suspect, taken_back, unmeasured.abs())
    return dict(zip(MAP_MEANING, maps, strict=True))


def contradicted_detail(output: ModelOutput, calibrated: CalibratedSlice) -> float:
    """Return the share of the fine detail of one delivered image that its measurement contradicts.

        |D (x - x')|^2 / |D x|^2,   x' = argmin |A x' - b|^2 + mu |x' - x|^2

    D keeps the outer band of the measured k-space, see `detail.outer_band`. Noise alone explains a
    part of it, the same for all images of a scan.
    """
    sense = calibrated.sense.single_map()
    image = _with_phase(output.image, output, calibrated)
    mu = default_weight(calibrated.noise_std)
    taken_back = _solve(sense, mu, sense.adjoint(calibrated.kspace - sense(image)))
    norm = torch.linalg.vector_norm
    fine = norm(outer_band(image, sense.kspace_shape))
    return float((norm(outer_band(taken_back, sense.kspace_shape)) / fine.clamp_min(1e-12)) ** 2)


def unit_of(name: str, scale: float) -> float:
    """Return the factor that brings a map to the scale of the scanner's images."""
    return 1.0 if name in UNITLESS_MAPS else scale


def expected_level(calibrated: CalibratedSlice, mu: Tensor) -> Tensor:
    """Return the root mean square of `taken_back` without an invention, float32 ``(batch, y, x)``.

    `mu` ``(batch, 1, 1)`` is the weight of the image of the networks.
    """
    sense = calibrated.sense.single_map()
    std = calibrated.noise_std.clamp_min(LEAST_NOISE)[:, None, None]
    generator = torch.Generator().manual_seed(0)
    power = torch.zeros((), device=mu.device)
    for _ in range(NOISE_DRAWS):
        noise = torch.randn(calibrated.kspace.shape, dtype=torch.complex64, generator=generator)
        seen = _solve(sense, mu, sense.adjoint(noise.to(mu.device) * sense.mask))
        power = power + (std * seen.abs()).square() / NOISE_DRAWS
    power = local_mean(power, NOISE_WINDOW)
    tau = std / (CAUTION * mu.sqrt())
    return (power + tau.square()).sqrt().clamp_min(torch.finfo(torch.float32).tiny)


def _solve(sense: SenseOperator, mu: Tensor, rhs: Tensor) -> Tensor:
    """Return (A^H A + mu)^-1 rhs."""
    x, _ = conjugate_gradient(
        lambda v: sense.gram(v) + mu * v, rhs, n_iter=N_ITER, tolerance=TOLERANCE
    )
    return x


def _with_phase(image: Tensor, output: ModelOutput, calibrated: CalibratedSlice) -> Tensor:
    if image.is_complex():
        return image
    _, phase = smooth_phase(output.low_resolution, calibrated.sense.image_shape)
    return image * phase
