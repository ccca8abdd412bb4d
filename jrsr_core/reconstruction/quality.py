"""How far a finished image agrees with what was measured, and what in it was not measured at all.

    residual = |M (A x - b)| / |b|   over the measured samples of all coils

At the level of the noise, sqrt(n_samples) sigma / |b|, an image explains the measurement; above
it something was changed, below it noise was fitted.

Two maps say where a network may have made something up (ours; after Bhadra et al., IEEE TMI 2021,
who part hallucinations into those within the measured space and those in the null space). x_SR is
the image of the networks, x the image that was delivered:

    taken_back = |x_SR - x|,                        x = argmin |A x - b|^2 + mu |x - x_SR|^2
    unmeasured = |mu (A^H A + mu)^-1 x_SR|
    hallucination = taken_back + excess(unmeasured)

`taken_back` contradicts the measurement: for a true x_SR it is noise. A system without that last
step delivers x_SR itself, contradictions included. `unmeasured` is the share of x that x_SR stands
for and the samples do not: all of it where nothing was measured, mu / (A^H A + mu) of it where
something was, which is much where noise is high. It has the edges of the object as well and need
not be wrong; what of it is stronger than the measured detail around vouches for is its excess, see
`detail`. So `hallucination` is noise for a true x_SR too. Exactly x = (A^H A + mu)^-1 A^H b +
mu (A^H A + mu)^-1 x_SR. All in image units. A magnitude image gets the smooth phase of the LR
reconstruction first.
"""

import math

import torch
from torch import Tensor

from jrsr_core.calibration.calibrate import CalibratedSlice
from jrsr_core.models.consistency import DataConsistency
from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.models.phase import smooth_phase
from jrsr_core.physics.fourier import filter_kspace
from jrsr_core.physics.resolution import Shape
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.physics.solvers import conjugate_gradient

MAP_NAMES = ("hallucination", "taken_back", "unmeasured")
N_ITER = 12
TOLERANCE = 1e-4


def kspace_residual(output: ModelOutput, calibrated: CalibratedSlice) -> float:
    """Return the relative k-space residual of the HR image of one slice."""
    image = _with_phase(output.image, output, calibrated)
    difference = calibrated.sense.single_map()(image) - calibrated.kspace
    return float(_relative(difference, calibrated.kspace))


def expected_residual(calibrated: CalibratedSlice) -> float:
    """Return the residual that the noise alone explains."""
    n_coils = calibrated.kspace.shape[1]
    n_samples = n_coils * float(calibrated.sense.mask.sum())
    norm = torch.linalg.vector_norm(calibrated.kspace)
    return float((n_samples * calibrated.noise_std.square().sum()).sqrt() / norm)


def hallucination_maps(output: ModelOutput, calibrated: CalibratedSlice) -> dict[str, Tensor]:
    """Return the maps of `MAP_NAMES`, float32 ``(batch, y, x)``, in the units of the output."""
    sense, mu = calibrated.sense.single_map(), output.prior_weight
    if output.prior is None:
        prior = _with_phase(output.image, output, calibrated)
        mu = DataConsistency().eval().to(prior.device).mu(calibrated.noise_std)
        residual = sense.adjoint(calibrated.kspace - sense(prior))
        consistent = prior + _solve(sense, mu, residual)
    else:
        prior, consistent = output.prior, output.image
    taken_back = (prior - consistent).abs()
    unmeasured = _solve(sense, mu, mu * prior)
    excess = excess_detail(unmeasured, consistent, sense.kspace_shape)
    maps = (taken_back + excess, taken_back, unmeasured.abs())
    return dict(zip(MAP_NAMES, maps, strict=True))


def relative_size(part: Tensor, image: Tensor) -> float:
    """Return |part| / |image|, 0 for an empty image."""
    norm = float(torch.linalg.vector_norm(image))
    return float(torch.linalg.vector_norm(part)) / norm if norm else 0.0


def _solve(sense: SenseOperator, mu: Tensor, rhs: Tensor) -> Tensor:
    """(A^H A + mu)^-1 rhs."""
    x, _ = conjugate_gradient(
        lambda v: sense.gram(v) + mu * v, rhs, n_iter=N_ITER, tolerance=TOLERANCE
    )
    return x


def _with_phase(image: Tensor, output: ModelOutput, calibrated: CalibratedSlice) -> Tensor:
    if image.is_complex():
        return image
    _, phase = smooth_phase(output.low_resolution, calibrated.sense.image_shape)
    return image * phase


def _relative(difference: Tensor, reference: Tensor) -> Tensor:
    return torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(reference)


# FOLDED jrsr_core/detail.py: How much unmeasured detail an image may have at a place, judged by its measured detail there.
ALLOWED = 2.5
"""Times the measured detail: inside the object of true images R(u) / R(D x) has the median 1.2 and
is above 2.5 at one place in twenty (16 validation slices of brain-5x)."""

SIGMA = 1.5
"""Width of the window in HR pixels."""

INNER = 0.4
"""The outer band begins at this part of the measured extent of k-space."""


def excess_detail(unmeasured: Tensor, image: Tensor, measured: Shape) -> Tensor:
    """Return where `unmeasured` is stronger than the measured detail of `image` allows, float32.

    `measured` is the extent ``(ky, kx)`` of the acquired grid.
    """
    allowed = ALLOWED**2 * _local_power(outer_band(image, measured))
    return (_local_power(unmeasured) - allowed).clamp_min(0.0).sqrt()


def outer_band(image: Tensor, measured: Shape) -> Tensor:
    """Return the part of an image from `INNER` of the measured extent of k-space to its end."""
    shape = (image.shape[-2], image.shape[-1])
    y, x = (_offset(n).abs() * 2 / m for n, m in zip(shape, measured, strict=True))
    radius = torch.maximum(y[:, None], x[None, :]).to(image.device)
    return filter_kspace(image, ((radius > INNER) & (radius <= 1)).to(torch.float32))


def _local_power(image: Tensor) -> Tensor:
    """G * |image|^2."""
    y, x = (_gaussian(n) for n in image.shape[-2:])
    transfer = torch.outer(y, x).to(image.device)
    power = image.abs().square().to(torch.complex64)
    return filter_kspace(power, transfer).real.clamp_min(0.0)


def _gaussian(n: int) -> Tensor:
    """Fourier transform of the window along an axis of n pixels."""
    return torch.exp(-2 * (math.pi * SIGMA * _offset(n) / n).square())


def _offset(n: int) -> Tensor:
    return (torch.arange(n) - n // 2).to(torch.float32)
