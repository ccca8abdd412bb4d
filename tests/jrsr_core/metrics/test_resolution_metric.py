"""Effective resolution by Fourier ring correlation: laws, and an independent implementation."""

import numpy as np
import pytest
import torch

from jrsr_core.metrics.resolution import (
    N_RINGS,
    effective_resolution,
    fourier_ring_correlation,
    resolution_limit,
    resolution_mm,
    ring_frequencies,
)
from jrsr_core.physics.fourier import filter_kspace
from jrsr_core.physics.resolution import crop_or_pad, sinc_interpolate
from jrsr_core.simulation.phantoms import brain_phantom


def noise(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def radius(shape):
    y, x = ((torch.arange(n) - n // 2) / (n / 2) for n in shape)
    return (y[:, None] ** 2 + x[None, :] ** 2).sqrt()


@pytest.mark.parametrize("shape", [(16, 16), (24, 31), (36, 40), (41, 41)])
def test_small_images_have_a_resolution(shape):
    truth = 5 + noise(shape, 0)
    assert float(effective_resolution(2 * truth, truth)) == 1.0
    half = tuple(n // 2 for n in shape)
    low = filter_kspace(truth.to(torch.complex128), crop_or_pad(torch.ones(half), shape)).real
    assert 0.3 < float(effective_resolution(low, truth)) < 0.7


@pytest.mark.parametrize("shape", [(64, 64), (96, 128), (75, 91)])
def test_identical_images_correlate_everywhere_at_any_scale(shape):
    truth = 5 + noise(shape, 0)
    correlation = fourier_ring_correlation(3.7 * truth, truth)
    assert correlation.shape == (N_RINGS,)
    assert torch.allclose(correlation, torch.ones(N_RINGS, dtype=torch.float64))
    assert float(effective_resolution(0.1 * truth, truth)) == 1.0


@pytest.mark.parametrize("cut", [0.2, 0.35, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("shape", [(128, 128), (116, 160)])
def test_a_truth_without_high_frequencies_ends_where_it_was_cut(cut, shape):
    truth = 5 + noise(shape, 1)
    low_pass = (radius(shape) < cut).to(torch.float64)
    image = filter_kspace(truth.to(torch.complex128), low_pass).real
    assert float(effective_resolution(image, truth)) == pytest.approx(cut, abs=0.005)
    beyond = ring_frequencies() > cut + 0.03
    assert float(fourier_ring_correlation(image, truth)[beyond].abs().max()) == 0.0


def test_an_interpolated_scan_of_half_the_matrix_ends_at_the_corners_of_its_square():
    truth = 5 + noise((128, 160), 2)
    low = filter_kspace(truth.to(torch.complex64), crop_or_pad(torch.ones(64, 80), (128, 160)))
    image = sinc_interpolate(low[::2, ::2], (128, 160)).real
    # A square of k-space: for white detail FRC is the root of the part of the ring inside it,
    # 1 - 4 acos(0.5 / r) / pi at the radius r, which is a quarter at 0.601.
    assert float(effective_resolution(image, truth)) == pytest.approx(0.602, abs=0.01)


def test_independent_noise_does_not_correlate():
    image, truth = 5 + noise((256, 256), 3), 5 + noise((256, 256), 4)
    assert float(fourier_ring_correlation(image, truth).abs()[2:].max()) < 0.1
    assert float(effective_resolution(image, truth)) < 0.05


def test_invented_detail_lowers_it_and_true_detail_raises_it():
    truth, invented = 5 + noise((128, 128), 5), noise((128, 128), 6)
    inner = (radius((128, 128)) < 0.5).to(torch.float64)
    outer = ((radius((128, 128)) >= 0.5) & (radius((128, 128)) < 0.7)).to(torch.float64)

    def part(image, weights):
        return filter_kspace(image.to(torch.complex128), weights).real

    low = part(truth, inner)
    assert float(effective_resolution(low, truth)) == pytest.approx(0.5, abs=0.005)
    # An invented band leaves the resolution where it was, the true one adds what it has.
    assert float(effective_resolution(low + part(invented, outer), truth)) < 0.51
    assert float(effective_resolution(low + part(truth, outer), truth)) == pytest.approx(0.7, 0.01)


def test_noise_of_known_power_gives_the_known_correlation():
    # FRC of t and t + n is 1 / sqrt(1 + |n|^2 / |t|^2).
    truth, added = noise((256, 256), 7), noise((256, 256), 8)
    for level in (0.5, 1.0, 2.0):
        found = fourier_ring_correlation(truth + level * added, truth)
        assert float(found[4:].mean()) == pytest.approx((1 + level**2) ** -0.5, abs=0.02)


@pytest.mark.parametrize("level", [0.5, 0.9, 1.5])
def test_the_limit_is_the_resolution_of_the_truth_without_its_noise(level):
    shape = (512, 512)
    spectrum = (radius(shape) + 0.02) ** -1.5
    clean = filter_kspace(noise(shape, 11).to(torch.complex128), spectrum).real
    clean = 10 + clean / clean.std()
    measured = clean + level * noise(shape, 12)
    noisier = measured + level * noise(shape, 13)
    limit = float(resolution_limit(noisier, measured))
    assert limit == pytest.approx(float(effective_resolution(clean, measured)), abs=0.02)
    assert 0.2 < limit < 0.9


def test_the_limit_of_a_truth_without_noise_and_without_signal():
    truth, other = 5 + noise((96, 128), 14), noise((96, 128), 15)
    assert float(resolution_limit(truth, truth)) == 1.0
    assert float(resolution_limit(5 + other, truth)) < 0.05
    pair = torch.stack((truth, 5 + other)), torch.stack((truth, truth))
    assert resolution_limit(*pair).shape == (2,)


def test_a_batch_is_its_images():
    truth = 5 + noise((3, 48, 64), 9)
    image = truth + noise((3, 48, 64), 10)
    together = fourier_ring_correlation(image, truth)
    alone = [fourier_ring_correlation(i, t) for i, t in zip(image, truth, strict=True)]
    assert torch.allclose(together, torch.stack(alone))
    assert effective_resolution(image, truth).shape == (3,)


def test_millimetres_are_half_a_period():
    assert resolution_mm(1.0, 0.9) == 0.9
    assert resolution_mm(0.5, 0.9) == 1.8
    assert resolution_mm(0.0, 0.9) == float("inf")


@pytest.mark.parametrize(
    "metric", [effective_resolution, fourier_ring_correlation, resolution_limit]
)
def test_bad_input_is_named(metric):
    image = torch.ones(32, 32)
    with pytest.raises(ValueError, match="target has no positive pixel"):
        metric(image, 0 * image)
    with pytest.raises(ValueError, match=r"image is \(31, 32\), target is \(32, 32\)"):
        metric(image[1:], image)


def test_an_image_that_is_not_finite_has_no_resolution():
    truth = brain_phantom((64, 64)).double()
    for wrong in (float("nan"), float("inf")):
        images = torch.stack((truth, truth))
        images[1, 3, 4] = wrong
        found = effective_resolution(images, torch.stack((truth, truth)))
        assert float(found[0]) == 1.0 and found[1].isnan()
        assert fourier_ring_correlation(images, torch.stack((truth, truth)))[1].isnan().all()


def test_another_implementation_agrees():
    """By numpy's FFT and a loop over rings: no function of ours."""
    truth = brain_phantom((96, 128)).double()
    image = truth + 0.05 * noise(truth.shape, 11)
    x, t = (np.fft.fftshift(np.fft.fft2(v.numpy() - v.numpy().mean())) for v in (image, truth))
    ky, kx = np.meshgrid(np.arange(-48, 48) / 48, np.arange(-64, 64) / 64, indexing="ij")
    expected = []
    for k in range(20):
        ring = (np.hypot(ky, kx) >= k / 20) & (np.hypot(ky, kx) < (k + 1) / 20)
        cross = np.sum(x[ring] * np.conj(t[ring])).real
        powers = np.sum(np.abs(x[ring]) ** 2) * np.sum(np.abs(t[ring]) ** 2)
        expected.append(cross / np.sqrt(powers))
    found = fourier_ring_correlation(image, truth).numpy()
    # A sample on the edge of a ring may round to either side.
    assert np.abs(found - expected).max() < 0.02
