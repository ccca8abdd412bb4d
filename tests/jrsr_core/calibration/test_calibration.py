"""Whitening, ACS, coil compression, intensity scale and noise level on synthetic scans."""

import numpy as np
import pytest
import torch

from jrsr_core.acs import cut_acs, find_acs
from jrsr_core.calibration.calibrate import intensity_scale
from jrsr_core.calibration.compression import CoilCompressor
from jrsr_core.calibration.noise import estimate_noise_std, noise_std_of
from jrsr_core.calibration.whitening import (
    OWN_NOISE,
    noise_covariance,
    unused_channels,
    whiten,
    whitening_matrix,
)
from jrsr_core.data import KSpaceSlice
from jrsr_core.physics.fourier import fft2c, ifft, ifft2c
from jrsr_core.physics.resolution import crop_or_pad
from tests.helpers.synthetic import grid, line_mask, noise_like, scan
from tests.laws import assert_close, random_complex


def _noise(n_coils=6, n_samples=4000):
    mixing = random_complex(n_coils, n_coils, seed=3)
    gains = torch.logspace(-2, 2, n_coils)
    return gains[:, None] * (mixing @ random_complex(n_coils, n_samples, seed=4))


# Whitening


def test_whitened_noise_has_identity_covariance():
    noise = _noise()
    matrix = whitening_matrix(noise)
    covariance = noise_covariance(whiten(matrix, noise))
    assert_close(covariance, torch.eye(6, dtype=covariance.dtype), 1e-3)


def test_whiten_acts_on_the_coil_axis_only():
    matrix = whitening_matrix(_noise())
    kspace = random_complex(2, 6, 5, 7)
    expected = torch.einsum("dc,bcyx->bdyx", matrix, kspace)
    assert_close(whiten(matrix, kspace), expected)
    assert_close(whiten(matrix, kspace[0]), expected[0])
    assert_close(whiten(matrix, kspace[0, :, :, 0]), expected[0, :, :, 0])


def test_dead_channel_gets_no_weight_and_is_reported():
    noise = _noise()
    noise[2] = 0
    matrix = whitening_matrix(noise)
    assert unused_channels(matrix) == [2]
    assert torch.isfinite(torch.view_as_real(matrix)).all()
    expected = torch.eye(6, dtype=torch.complex128)
    expected[2, 2] = 0
    assert_close(noise_covariance(whiten(matrix, noise)), expected, 1e-3)
    assert not unused_channels(whitening_matrix(_noise()))


@pytest.mark.parametrize(
    ("noise", "text"),
    [
        (_noise(6, 11), "noise has 11 samples, 6 coils need at least 12"),
        (torch.zeros(3, 50, dtype=torch.complex64), "zero in all 3 coils"),
        (torch.full((2, 50), float("nan"), dtype=torch.complex64), "not finite"),
    ],
)
def test_bad_noise_is_named(noise, text):
    with pytest.raises(ValueError, match=text):
        whitening_matrix(noise)


@pytest.mark.parametrize("error", [0.0, 1e-7, 3e-5])
@pytest.mark.parametrize(
    ("weights", "name"), [([0, 1, 0, 0, 0], "copy"), ([0.5, 0, 2j, 0, -1], "combination")]
)
def test_a_channel_without_noise_of_its_own_gets_no_weight(weights, name, error):
    """Singular up to rounding: the rank is not left to the luck of a Cholesky factor."""
    noise = _noise(5)
    other = torch.tensor(weights, dtype=torch.complex64) @ noise
    own = other.abs().square().mean().sqrt() * random_complex(1, noise.shape[1], seed=9)[0]
    mixed = torch.cat([noise[:3], (other + error * own)[None], noise[3:]])
    if name == "combination":
        # The last of the channels that make the sum is the one that brings nothing new.
        mixed = torch.cat([noise, (other + error * own)[None]])
    matrix = whitening_matrix(mixed)
    assert unused_channels(matrix) == [3 if name == "copy" else 5]
    others = [c for c in range(6) if c not in unused_channels(matrix)]
    assert_close(matrix[others][:, others], whitening_matrix(mixed[others]), 1e-4)


def test_a_channel_with_noise_of_its_own_stays_however_little_it_is():
    noise = _noise(5)
    own = noise[1].abs().square().mean().sqrt() * random_complex(1, noise.shape[1], seed=9)[0]
    mixed = torch.cat([noise, (noise[1] + 3 * OWN_NOISE**0.5 * own)[None]])
    assert not unused_channels(whitening_matrix(mixed))


def test_whitening_matrix_of_other_coils():
    with pytest.raises(ValueError, match="for 6 coils, kspace has 5"):
        whiten(whitening_matrix(_noise()), random_complex(5, 4, 4))


# ACS


@pytest.mark.parametrize("shape", [(64, 48), (63, 47), (64, 47)], ids=str)
@pytest.mark.parametrize("size", [(24, 24), (23, 10), (1, 1)], ids=str)
def test_acs_of_a_rectangle(shape, size):
    mask = crop_or_pad(torch.ones(size), shape)
    mask[0, 0] = 1
    block = find_acs(mask)
    assert mask[block].shape == size and mask[block].all()
    for b, n, m in zip(block, shape, size, strict=True):
        assert b.start + m // 2 == n // 2


def test_acs_of_lines_spans_the_readout():
    mask = line_mask((64, 50), 3, n_acs=20)
    ys, xs = find_acs(mask)
    assert (xs.start, xs.stop) == (0, 50)
    assert ys.stop - ys.start >= 20
    assert find_acs(mask, (12, 24)) == (slice(26, 38), slice(13, 37))
    kspace = random_complex(3, 64, 50)
    assert torch.equal(cut_acs(kspace, mask, (12, 24)), kspace[:, 26:38, 13:37])


def test_fully_sampled_acs_is_everything():
    assert find_acs(torch.ones(31, 40)) == (slice(0, 31), slice(0, 40))


@pytest.mark.parametrize("centre", [12, 13, 24])
def test_a_square_centre_is_preferred_to_one_long_column(centre):
    columns = torch.zeros(192, 192)
    columns[:, ::2] = 1
    mask = torch.maximum(columns, crop_or_pad(torch.ones(centre, centre), (192, 192)))
    rows, columns = find_acs(mask)
    assert rows.stop - rows.start >= centre and columns.stop - columns.start >= centre
    assert mask[rows, columns].all()


def test_of_blocks_that_are_wide_enough_the_largest_is_taken():
    mask = crop_or_pad(torch.ones(26, 180), (200, 180))
    mask = torch.maximum(mask, crop_or_pad(torch.ones(40, 40), (200, 180)))
    assert mask[find_acs(mask)].shape == (26, 180)


def test_no_acs_is_an_error():
    mask = torch.ones(16, 12)
    mask[8, 6] = 0
    with pytest.raises(ValueError, match=r"centre \(8, 6\) of 16x12 is not sampled"):
        find_acs(mask)
    with pytest.raises(ValueError, match=r"mask is \(16, 12\), kspace is \(8, 8\)"):
        cut_acs(random_complex(2, 8, 8), mask)


def test_an_acs_is_found_in_lists_and_not_in_what_is_no_mask():
    assert find_acs([[0, 1, 0], [1, 1, 1], [0, 1, 0]]) == (slice(1, 2), slice(0, 3))
    for mask, message in (
        (None, "mask is None, expected an array of numbers"),
        (np.ones((0, 0)), r"mask is \(0, 0\), expected at least one sample along every axis"),
        (np.ma.masked_array(np.ones((4, 4)), np.eye(4)), "mask has 4 elements masked"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            find_acs(mask)


# Coil compression

SHAPES = [(48, 64), (47, 63)]


def _compressors(kspace, n_virtual, **kwargs):
    acs = crop_or_pad(kspace, (24, kspace.shape[-1]))
    gcc = CoilCompressor.gcc(acs, n_virtual, kspace.shape[-1], **kwargs)
    return CoilCompressor.scc(acs, n_virtual), gcc


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("n_virtual", [12, 20])
def test_as_many_virtual_coils_are_lossless(shape, n_virtual):
    kspace = scan(12, shape)[0]
    for compressor in _compressors(kspace, n_virtual):
        out = compressor(kspace)
        assert out.shape == kspace.shape and compressor.n_virtual == 12
        rss, expected = (ifft2c(k).abs().square().sum(0) for k in (out, kspace))
        assert_close(rss, expected, 1e-4)


def test_kspace_of_any_precision_and_batch_is_compressed():
    kspace = scan(6, (48, 64))[0]
    for compressor in _compressors(kspace, 4):
        wanted = compressor(kspace)
        for given in (kspace.to(torch.complex128), kspace.numpy(), kspace.numpy().astype("c16")):
            made = compressor(given)
            assert made.dtype == torch.complex64 and torch.equal(made, wanted)
        assert_close(
            compressor(torch.stack((kspace, 2 * kspace))), torch.stack((wanted, 2 * wanted))
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda k: k.real, r"kspace is float32, expected complex \(\.\.\., coil, ky, kx\)"),
        (lambda k: k[0], r"kspace is \(48, 64\), expected complex \(\.\.\., coil, ky, kx\)"),
        (lambda k: k[:5], r"compressor is for 6 coils, kspace has 5"),
    ],
)
def test_other_kspace_is_named(change, message):
    kspace = scan(6, (48, 64))[0]
    for compressor in _compressors(kspace, 4):
        for given in (change(kspace), change(kspace).numpy()):
            with pytest.raises(ValueError, match=f"^{message}$"):
                compressor(given)


def test_rows_are_orthonormal():
    kspace = scan(12, (48, 64))[0]
    for compressor in _compressors(kspace, 5):
        a = compressor.matrices
        assert_close(a @ a.mH, torch.eye(5, dtype=a.dtype).expand(len(a), 5, 5))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("n_virtual", [1, 2, 4])
def test_gcc_keeps_at_least_the_energy_of_scc(shape, n_virtual):
    kspace = scan(12, shape)[0]
    acs = crop_or_pad(kspace, (24, shape[1]))
    for window, slack in ((1, 1e-6), (5, 1e-2)):
        scc, gcc = _compressors(kspace, n_virtual, window=window)
        e_scc, e_gcc = (c(acs).abs().square().sum() for c in (scc, gcc))
        assert e_gcc >= (1 - slack) * e_scc
        assert e_gcc <= 1.0001 * acs.abs().square().sum()


def test_alignment_keeps_the_subspace_and_joins_neighbours():
    kspace = scan(12, (48, 64))[0]
    acs = crop_or_pad(kspace, (24, 64))
    gcc = _compressors(kspace, 4)[1]
    energy = ifft(gcc(acs), -1).abs().square().sum((0, 1))
    hybrid = ifft(acs, -1).permute(2, 0, 1)
    best = torch.linalg.eigvalsh(hybrid @ hybrid.mH)[:, -4:].sum(-1)
    inside = slice(12, 52)
    # The sliding window costs a little of the optimum of every single position.
    assert (energy[inside] >= 0.98 * best[inside]).all()
    a = gcc.matrices[inside]
    steps = torch.linalg.matrix_norm(a[1:] - a[:-1])
    distance = torch.linalg.matrix_norm(a[1:].mH @ a[1:] - a[:-1].mH @ a[:-1])
    # Aligned bases move hardly more than the subspaces themselves have to.
    assert (steps <= 1.05 * distance + 1e-4).all()


def test_virtual_coils_are_smooth_along_the_readout():
    kspace, csm, inside, _ = scan(12, (48, 64))
    gcc = _compressors(kspace, 4)[1]
    virtual = torch.einsum("xvc,cyx->vyx", gcc.matrices, csm)
    both = inside[:, 1:] & inside[:, :-1]
    step = (virtual[..., 1:] - virtual[..., :-1]).abs().square().sum(0).sqrt()[both]
    physical = (csm[..., 1:] - csm[..., :-1]).abs().square().sum(0).sqrt()[both]
    assert step.mean() < 1.5 * physical.mean()


def test_noise_stays_white():
    kspace = scan(12, (48, 64))[0]
    noise = random_complex(12, 400, 64)
    for compressor in _compressors(kspace, 4):
        covariance = noise_covariance(compressor(noise).flatten(1))
        assert_close(covariance, torch.eye(4, dtype=covariance.dtype), 0.03)


def test_batch_of_kspaces():
    kspace = torch.stack((scan(6, (48, 64))[0], scan(6, (48, 64), seed=1)[0]))
    for compressor in _compressors(kspace[0], 3):
        assert_close(compressor(kspace)[1], compressor(kspace[1]))


def test_compression_errors():
    kspace = scan(6, (48, 64))[0]
    scc, gcc = _compressors(kspace, 3)
    with pytest.raises(ValueError, match="for 6 coils, kspace has 5"):
        scc(kspace[:5])
    with pytest.raises(ValueError, match="for 64 readout samples, kspace has 32"):
        gcc(kspace[..., :32])
    with pytest.raises(ValueError, match="n_virtual is 0"):
        CoilCompressor.scc(kspace, 0)
    with pytest.raises(ValueError, match=r"n_virtual is 4\.5, expected a whole number"):
        CoilCompressor.scc(kspace, 4.5)
    with pytest.raises(ValueError, match=r"readout_size is 64\.0, expected a whole number"):
        CoilCompressor.gcc(kspace, 3, 64.0)
    with pytest.raises(ValueError, match="acs has 64 samples along kx, readout 32"):
        CoilCompressor.gcc(kspace, 3, 32)
    with pytest.raises(ValueError, match="window is 4"):
        CoilCompressor.gcc(kspace, 3, 64, window=4)


@pytest.mark.parametrize("scale", [2.0**-70, 2.0**66])
def test_matrices_do_not_depend_on_the_unit_of_the_samples(scale):
    acs = random_complex(6, 24, 64)
    for make in (lambda x: CoilCompressor.scc(x, 3), lambda x: CoilCompressor.gcc(x, 3, 64)):
        assert torch.equal(make(scale * acs).matrices, make(acs).matrices)


# Scale and noise


def test_intensity_scale_is_per_sample():
    image = random_complex(3, 8, 7) * torch.tensor([1.0, 5.0, 1e-8])[:, None, None]
    scale = intensity_scale(image)
    torch.testing.assert_close(scale, image.abs().flatten(1).amax(1))
    with pytest.raises(ValueError, match="zero everywhere"):
        intensity_scale(0 * image)
    with pytest.raises(ValueError, match="not finite"):
        intensity_scale(image * float("inf"))


@pytest.mark.parametrize("snr_db", [20, 30, 40])
@pytest.mark.parametrize("acceleration", [1, 2.5, 4])
@pytest.mark.parametrize("n_coils", [2, 4, 12, 32])
def test_noise_std(n_coils, acceleration, snr_db):
    # HR anatomy cropped to LR: the edge of k-space is not empty.
    kspace, _, _, std = scan(n_coils, (116, 128), snr_db)
    mask = line_mask((116, 128), acceleration)
    estimate = estimate_noise_std(mask * kspace, mask)
    assert estimate == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("n_coils", [2, 4, 12, 32])
def test_noise_std_of_a_scan_of_little_noise(n_coils):
    kspace, _, _, std = scan(n_coils, (116, 128), 55)
    mask = line_mask((116, 128), 2)
    assert estimate_noise_std(mask * kspace, mask) == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize("snr_db", [20, 30])
@pytest.mark.parametrize("n_coils", [2, 8, 18])
def test_noise_std_from_a_square_acs(n_coils, snr_db):
    kspace, _, _, std = scan(n_coils, (100, 90), snr_db)
    mask = crop_or_pad(torch.ones(24, 24), (100, 90))
    assert estimate_noise_std(mask * kspace, mask) == pytest.approx(std, rel=0.15)


def test_noise_std_scales_with_the_data():
    kspace, *_ = scan(4, (64, 64), 30)
    mask = torch.ones(64, 64)
    one = estimate_noise_std(kspace, mask)
    assert estimate_noise_std(1e-6 * kspace, mask) == pytest.approx(1e-6 * one, rel=1e-3)
    assert estimate_noise_std(0 * kspace, mask) == 0
    pure = random_complex(1, 64, 64)
    assert estimate_noise_std(pure, mask) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("axis", ["ky", "kx"])
@pytest.mark.parametrize("n_coils", [4, 16])
def test_noise_std_of_a_slice_with_separate_lines(n_coils, axis):
    """Neither lines nor columns of every second place are an ACS: the separate one is used."""
    kspace, _, _, std = scan(n_coils, (96, 90), 30)
    mask = torch.zeros(96, 90)
    mask[
        (slice(None, None, 2), slice(None)) if axis == "ky" else (slice(None), slice(1, None, 2))
    ] = 1
    slice_ = KSpaceSlice.from_array(kspace * mask, mask, acs=crop_or_pad(kspace, (24, 24)))
    assert noise_std_of(slice_) == pytest.approx(std, rel=0.15)


def test_noise_std_needs_an_acs():
    mask = crop_or_pad(torch.ones(4, 4), (64, 64))
    with pytest.raises(ValueError, match="acs of 4x4 is too small to estimate the noise of 8"):
        estimate_noise_std(random_complex(8, 64, 64), mask)


@pytest.mark.parametrize("snr_db", [10, 22, 30])
def test_one_coil_whose_object_fills_the_field_of_view(snr_db):
    """Without an empty margin the null space of the ACS holds signal; outer k-space does not."""
    y, x = grid((128, 112))
    image = 1 + 0.4 * torch.cos(9 * y + 2) * torch.cos(7 * x) + 0.3 * torch.sin(40 * x + 13 * y)
    clean = fft2c(image.to(torch.complex64))[None]
    std = float(clean.abs().square().mean().sqrt()) * 10 ** (-snr_db / 20)
    mask = line_mask((128, 112), 2, 20)
    kspace = (clean + noise_like(clean, std)) * mask
    assert estimate_noise_std(kspace, mask) == pytest.approx(std, rel=0.1)
