"""Change of grid: where k = 0 lands, what is exact, where LR pixels lie in the HR image."""

import itertools

import pytest
import torch

from jrsr_core.physics.fourier import fft2c, ifft2c
from jrsr_core.physics.resolution import (
    crop_or_pad,
    decimate,
    grid_scale,
    lr_to_hr_index,
    sinc_interpolate,
)
from tests.laws import assert_close, random_complex

PARITIES = list(itertools.product([16, 17], [9, 10, 16, 17, 23, 24]))
LR_SHAPES = [(16, 12), (15, 11), (16, 11), (15, 12)]


@pytest.mark.parametrize(("n", "m"), PARITIES)
def test_center_stays_at_center(n, m):
    x = torch.zeros(n, n)
    x[n // 2, n // 2] = 1
    y = crop_or_pad(x, (m, m))
    assert y.shape == (m, m) and y.sum() == 1 and y[m // 2, m // 2] == 1


@pytest.mark.parametrize(("n", "m"), PARITIES)
def test_crop_and_pad_are_adjoint(n, m):
    x, y = random_complex(3, n, 20, seed=1), random_complex(3, m, 31, seed=2)
    forward, backward = crop_or_pad(x, (m, 31)), crop_or_pad(y, (n, 20))
    left = torch.vdot(forward.flatten(), y.flatten())
    torch.testing.assert_close(left, torch.vdot(x.flatten(), backward.flatten()))


@pytest.mark.parametrize(("n", "m"), PARITIES)
def test_pad_then_crop_is_identity(n, m):
    x = random_complex(2, min(n, m), 7)
    assert torch.equal(crop_or_pad(crop_or_pad(x, (max(n, m), 9)), (min(n, m), 7)), x)


@pytest.mark.parametrize("lr", LR_SHAPES, ids=str)
def test_lr_pixels_are_hr_pixels(lr):
    """A band-limited HR image at the LR pixels is the LR image of the cropped, scaled k-space."""
    hr = (2 * lr[0], 2 * lr[1])
    # Strictly inside the band: the outermost sample of an even crop has no partner.
    inner = tuple((m - 1) // 2 * 2 - 1 for m in lr)
    kspace = crop_or_pad(random_complex(3, *inner), hr)
    image = ifft2c(kspace)
    lr_image = ifft2c(crop_or_pad(kspace, lr) * grid_scale(lr, hr))
    assert_close(decimate(image, lr), lr_image)
    assert_close(sinc_interpolate(lr_image, hr), image)
    assert_close(sinc_interpolate(image, lr), lr_image)


@pytest.mark.parametrize("m", [8, 9, 116, 111])
def test_lr_to_hr_index(m):
    index = lr_to_hr_index(m, 2 * m)
    assert torch.equal(index, 2 * torch.arange(m) + m % 2)
    assert index[m // 2] == m
    assert torch.equal(lr_to_hr_index(m, m), torch.arange(m))


@pytest.mark.parametrize("shape", [(31, 24), (40, 33), (16, 50)], ids=str)
def test_sinc_interpolate_keeps_intensity_and_centre(shape):
    assert_close(sinc_interpolate(torch.full((16, 17), 3.0), shape), torch.full(shape, 3.0))
    image = torch.zeros(16, 17)
    image[8, 8] = 1
    out = sinc_interpolate(image, (33, 40))
    assert not out.is_complex()
    assert divmod(int(out.argmax()), 40) == (16, 20)


def test_grid_scale_is_one_on_one_grid_and_half_at_two():
    assert grid_scale((8, 7), (8, 7)) == 1
    assert grid_scale((8, 7), (16, 14)) == 0.5


def test_no_multiple_is_an_error():
    with pytest.raises(ValueError, match="HR size 17 is no multiple of LR size 8"):
        lr_to_hr_index(8, 17)


def test_crop_of_random_hr_kspace_is_the_scan_of_the_lr_grid():
    kspace = fft2c(random_complex(31, 32))
    assert torch.equal(crop_or_pad(kspace, (15, 16)), kspace[8:23, 8:24])
