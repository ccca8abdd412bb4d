"""The Fourier transform against an analytic pair and against its definition."""

import math

import pytest
import torch

from jrsr_core.physics.fourier import fft, fft2c, filter_kspace, ifft, ifft2c
from tests.laws import assert_close, random_complex

SIZES = [(32, 32), (33, 31), (32, 31)]


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_definition(shape):
    x = random_complex(*shape, dtype=torch.complex128)
    for axis, n in enumerate(shape):
        position = torch.arange(n) - n // 2
        phase = torch.outer(position, position).double() * (-2 * math.pi / n)
        dft = torch.polar(torch.ones_like(phase), phase) / math.sqrt(n)
        expected = torch.tensordot(dft, x, dims=([1], [axis])).movedim(0, axis)
        assert_close(fft(x, axis), expected, 1e-12)
        assert_close(ifft(fft(x, axis), axis), x, 1e-12)


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_unitary_and_centred(shape):
    x = random_complex(2, *shape)
    assert_close(ifft2c(fft2c(x)), x)
    torch.testing.assert_close(torch.linalg.vector_norm(fft2c(x)), torch.linalg.vector_norm(x))
    constant = fft2c(torch.ones(shape, dtype=torch.complex64))
    peak = divmod(int(constant.abs().argmax()), shape[1])
    assert peak == (shape[0] // 2, shape[1] // 2)
    assert constant[peak].real.item() == pytest.approx(math.sqrt(math.prod(shape)), rel=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), (65, 63)], ids=str)
def test_gaussian_is_its_own_transform(shape):
    """exp(-pi (r/a)^2) -> a exp(-pi (a k/N)^2) / sqrt(N) per axis, real: no half-pixel shift."""
    a = 8.0
    image = torch.ones(1, dtype=torch.float64)
    kspace = torch.ones(1, dtype=torch.float64)
    for n in shape:
        r = torch.arange(n, dtype=torch.float64) - n // 2
        image = image[..., None] * torch.exp(-math.pi * (r / a) ** 2)
        line = a * torch.exp(-math.pi * (a * r / n) ** 2) / math.sqrt(n)
        kspace = kspace[..., None] * line
    got = fft2c(image[0].to(torch.complex128))
    assert_close(got, kspace[0].to(torch.complex128), 1e-10)


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_filter_is_a_product_in_kspace(shape):
    x = random_complex(3, *shape)
    weights = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    assert_close(filter_kspace(x, weights), ifft2c(weights * fft2c(x)))
    along_y = weights[:, :1]
    assert_close(filter_kspace(x, along_y, dim=(-2,)), ifft2c(along_y * fft2c(x)))
