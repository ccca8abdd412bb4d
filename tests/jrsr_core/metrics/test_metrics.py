"""Metrics against scikit-image, slice by slice."""

import math

import numpy as np
import pytest
import torch
from skimage import metrics as reference

from jrsr_core.metrics.image import nmse, psnr, ssim
from jrsr_core.metrics.resolution import effective_resolution


def _pair(*shape, noise=0.05, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.linspace(-1, 1, shape[-2])[:, None]
    x = torch.linspace(-1, 1, shape[-1])
    target = (2 + torch.sin(9 * y) * torch.cos(7 * x)) * (y * y + x * x < 0.8)
    target = (target * torch.rand((*shape[:-2], 1, 1), generator=generator)).expand(shape)
    image = (target + noise * torch.randn(shape, generator=generator)).abs()
    return image.float(), target.float().contiguous()


@pytest.mark.parametrize("shape", [(64, 64), (65, 40), (11, 12)], ids=str)
def test_agrees_with_scikit_image(shape):
    image, target = _pair(*shape)
    x, t = image.double().numpy(), target.double().numpy()
    peak = t.max()
    expected = reference.structural_similarity(
        t, x, data_range=peak, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(image, target).item() == pytest.approx(expected, abs=1e-10)
    expected = reference.peak_signal_noise_ratio(t, x, data_range=peak)
    assert psnr(image, target).item() == pytest.approx(expected, abs=1e-10)
    expected = np.sum((x - t) ** 2) / np.sum(t**2)
    assert nmse(image, target).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim, nmse])
def test_one_number_per_slice(metric):
    image, target = _pair(2, 3, 32, 33)
    values = metric(image, target)
    assert values.shape == (2, 3) and values.dtype == torch.float64
    for i, j in np.ndindex(2, 3):
        alone = metric(image[i, j], target[i, j])
        torch.testing.assert_close(values[i, j], alone, rtol=1e-12, atol=0)


def test_equal_images():
    _, target = _pair(2, 32, 32)
    assert torch.equal(psnr(target, target), torch.full((2,), math.inf, dtype=torch.float64))
    torch.testing.assert_close(ssim(target, target), torch.ones(2, dtype=torch.float64))
    assert not nmse(target, target).any()


@pytest.mark.parametrize("metric", [psnr, ssim, nmse])
def test_scale_of_both_does_not_matter(metric):
    image, target = _pair(32, 32)
    torch.testing.assert_close(
        metric(1e-6 * image, 1e-6 * target), metric(image, target), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("metric", [psnr, ssim, nmse])
def test_bad_input_is_named(metric):
    image, target = _pair(32, 32)
    with pytest.raises(ValueError, match=r"image is \(31, 32\), target is \(32, 32\)"):
        metric(image[1:], target)
    with pytest.raises(ValueError, match="target has no positive pixel"):
        metric(image, 0 * target)
    for value in (torch.nan, torch.inf):
        target[3, 4] = value
        with pytest.raises(ValueError, match=r"^target is not finite in 1 of 1024 pixels"):
            metric(image, target)


@pytest.mark.parametrize("metric", [psnr, ssim, nmse, effective_resolution])
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones(5), r"image is \(5,\), expected at least 1 pixel of \(..., y, x\)"),
        (1.0, r"image is \(\), expected"),
        (np.ones((0, 0)), r"image is \(0, 0\), expected"),
        (None, "image is None, expected an array of numbers"),
        (np.ma.masked_array(np.ones((20, 20)), np.eye(20)), "image has 20 elements masked"),
    ],
)
def test_what_is_no_image_is_named(metric, image, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        metric(image, np.ones((20, 20)))


@pytest.mark.parametrize("metric", [psnr, ssim, nmse, effective_resolution])
def test_an_image_that_is_not_finite_has_no_metrics(metric):
    image, target = _pair(32, 32)
    image[3, 4] = torch.nan
    assert metric(image, target).isnan()


@pytest.mark.parametrize("metric", [psnr, ssim, nmse])
def test_complex_images_count_by_their_magnitude_and_arrays_as_tensors(metric):
    image, target = _pair(32, 33)
    expected = metric(image.double(), target.double())
    phase = torch.polar(torch.ones(32, 33), torch.linspace(0, 3, 33).expand(32, 33)).to(
        torch.complex128
    )
    for pair in ((image * phase, target), (image, target * phase), (image * phase, target * phase)):
        torch.testing.assert_close(metric(*pair), expected)
    assert metric(image.numpy(), target) == metric(image, target.numpy()) == metric(image, target)
    backwards = image.flip(0).numpy()[::-1]
    assert metric(backwards, target.numpy().astype(">f4")) == metric(image, target)


def test_ssim_needs_a_full_window():
    with pytest.raises(ValueError, match=r"11x11 pixels or more, got \(10, 32\)"):
        ssim(torch.ones(10, 32), torch.ones(10, 32))
