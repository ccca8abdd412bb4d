"""Readouts: every step is undone exactly, or leaves image and noise as they were."""

import numpy as np
import pytest
import torch

from jrsr_core.mrd.assembly.accumulate import on_grid
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.lines.acquired import HEAD_DTYPE, REVERSE, flag_bits, sort_lines
from jrsr_core.mrd.lines.readout import LineLayout, ReadoutKind, plan_readout, readout_kinds
from jrsr_core.physics.fourier import fft, ifft
from jrsr_core.physics.resolution import crop_or_pad


def encoding(n_encoded: int, n: int) -> Encoding:
    fov = 200.0
    return Encoding(
        (1, 8, n_encoded), (1, 8, n), (5.0, 200.0, fov * n_encoded / n), (5.0, 200.0, fov)
    )


def layout(n_encoded: int, n: int) -> LineLayout:
    return LineLayout(encoding(n_encoded, n))


def kind(n: int, center: int | None = None, pre: int = 0, post: int = 0, reverse: bool = False):
    return ReadoutKind(n, n // 2 if center is None else center, pre, post, reverse)


def line(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((3, n), dtype=torch.complex64, generator=generator)


@pytest.mark.parametrize(("n_encoded", "n"), [(64, 32), (62, 31), (63, 31), (96, 64), (50, 50)])
def test_oversampling_is_undone(n_encoded, n):
    truth = line(n)
    wide = fft(crop_or_pad(ifft(truth, -1), (n_encoded,)), -1)
    readout = plan_readout(kind(n_encoded), layout(n_encoded, n))
    assert readout.span == slice(0, n)
    torch.testing.assert_close(on_grid(readout, wide), truth, atol=1e-5, rtol=1e-5)


def test_readout_without_oversampling_stays_as_it_is():
    readout = plan_readout(kind(32), layout(64, 32))
    assert torch.equal(on_grid(readout, line(32)), line(32))


def test_noise_level_survives():
    noise = torch.randn((2000, 64), dtype=torch.complex64)
    cropped = on_grid(plan_readout(kind(64), layout(64, 32)), noise)
    assert cropped.abs().square().mean().sqrt() == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("n", [32, 31])
def test_reversed_readout_is_the_mirror(n):
    truth = line(n)
    reversed_kind = kind(n, center=n - 1 - n // 2, reverse=True)
    readout = plan_readout(reversed_kind, layout(n, n))
    assert torch.equal(on_grid(readout, truth.flip(-1)), truth)


def test_asymmetric_echo_lands_in_the_middle():
    n, missing = 64, 14
    truth = line(n)
    readout = plan_readout(kind(n - missing, center=n // 2 - missing), layout(n, n))
    assert readout.span == slice(missing, n)
    placed = on_grid(readout, truth[:, missing:])
    assert torch.equal(placed[:, missing:], truth[:, missing:])
    assert not placed[:, :missing].any()


def test_asymmetric_echo_with_oversampling_marks_half_as_many_samples():
    readout = plan_readout(kind(64 - 16, center=32 - 16), layout(64, 32))
    assert readout.span == slice(8, 32)
    assert not on_grid(readout, line(48))[:, :8].any()


@pytest.mark.parametrize(("n_encoded", "share"), [(40, 0.75), (48, 0.66), (64, 0.55)])
@pytest.mark.parametrize("late", [False, True])
def test_a_short_echo_is_on_the_grid_on_which_its_longer_side_fits(n_encoded, share, late):
    n_samples = round(share * n_encoded)
    assert n_samples <= 36, "few enough to be taken for a readout without oversampling"
    cut = n_encoded - n_samples
    truth = line(n_encoded)
    first = 0 if late else cut
    part = truth[:, first : first + n_samples]
    asymmetric = kind(n_samples, center=n_encoded // 2 - first)
    readout = plan_readout(asymmetric, layout(n_encoded, 32))
    padded = torch.zeros_like(truth)
    padded[:, first : first + n_samples] = part
    whole = on_grid(plan_readout(kind(n_encoded), layout(n_encoded, 32)), padded)
    inside = readout.span
    assert readout.n_full == n_encoded
    assert torch.allclose(on_grid(readout, part)[:, inside], whole[:, inside], atol=1e-5)


def test_discarded_samples_are_not_measured():
    readout = plan_readout(kind(32, pre=3, post=2), layout(32, 32))
    assert readout.span == slice(3, 30)
    assert not on_grid(readout, line(32))[:, [0, 1, 2, 30, 31]].any()


@pytest.mark.parametrize("center", [0, 32, 64])
def test_stale_or_missing_center_sample_means_symmetric(center):
    readout = plan_readout(kind(32, center=center), layout(64, 32))
    assert torch.equal(on_grid(readout, line(32)), line(32))


def test_readout_longer_than_the_header_is_declined():
    with pytest.raises(UnsupportedScan, match="80 samples, the encoded matrix 64"):
        plan_readout(kind(80), layout(64, 32))


def test_kinds_split_by_what_differs():
    heads = np.zeros(4, HEAD_DTYPE)
    heads["number_of_samples"] = 32
    heads["center_sample"] = [16, 16, 12, 16]
    heads["flags"][3] = flag_bits(REVERSE)
    kinds = readout_kinds(heads)
    assert {(k.center, k.reverse): v.tolist() for k, v in kinds.items()} == {
        (16, False): [0, 1],
        (12, False): [2],
        (16, True): [3],
    }


def test_lines_are_sorted_by_flag_and_counted():
    heads = np.zeros(6, HEAD_DTYPE)
    heads["number_of_samples"] = 8
    heads["flags"] = [
        0,
        flag_bits(19),
        flag_bits(20),
        flag_bits(21, 7),
        flag_bits(23),
        flag_bits(27),
    ]
    image, noise, rejected = sort_lines(heads)
    assert image.tolist() == [0, 2, 3]
    assert noise.tolist() == [1]
    assert rejected == {"navigator": 1, "dummy scan": 1}
