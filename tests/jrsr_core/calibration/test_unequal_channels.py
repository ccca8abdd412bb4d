"""Noise level of scans without noise lines whose channels are zero, copied, quiet or unequal."""

import pytest
import torch

from jrsr_core.calibration.noise import ROUNDING, estimate_noise_std, own_channels
from jrsr_core.data import KSpaceSlice
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.reconstruction.load import load_model
from tests.helpers.synthetic import line_mask, scan

SHAPE = (96, 104)
MASK = line_mask(SHAPE, 2)
CHANNEL = 3

scans = pytest.mark.parametrize("n_coils", [4, 8, 16])
levels = pytest.mark.parametrize("snr_db", [12, 25, 40])


def kspace_of(n_coils, snr_db, gains=None):
    """Return undersampled k-space and its noise level; `gains` act on signal and noise."""
    kspace, _, _, std = scan(n_coils, SHAPE, snr_db)
    gains = torch.ones(n_coils) if gains is None else gains
    return gains[:, None, None] * kspace * MASK, std * float(gains.square().mean().sqrt())


def gains_of(n_coils, gain):
    """Return the gains of coils one of which has another gain."""
    gains = torch.ones(n_coils)
    gains[CHANNEL] = gain
    return gains


def spread_gains(n_coils):
    """Return gains between 1/2 and 2, as the receivers of an unwhitened scan have them."""
    return 2 ** (2 * torch.rand(n_coils, generator=torch.Generator().manual_seed(0)) - 1)


def without(kspace, channel=CHANNEL):
    return torch.cat([kspace[:channel], kspace[channel + 1 :]])


@scans
@levels
def test_a_zero_channel_does_not_count(n_coils, snr_db):
    kspace, std = kspace_of(n_coils, snr_db)
    zeroed = gains_of(n_coils, 0)[:, None, None] * kspace
    estimate = estimate_noise_std(zeroed, MASK)
    assert estimate == estimate_noise_std(without(kspace), MASK)
    assert estimate == pytest.approx(std, rel=0.05)


@scans
@levels
def test_a_channel_that_others_explain_does_not_count(n_coils, snr_db):
    kspace, std = kspace_of(n_coils, snr_db)
    alone = estimate_noise_std(kspace, MASK)
    assert alone == pytest.approx(std, rel=0.05)
    for other in (kspace[0], 1e-3j * kspace[0], kspace[0] - 2 * kspace[1], kspace.sum(0)):
        assert estimate_noise_std(torch.cat([kspace, other[None]]), MASK) == alone
    assert own_channels(torch.cat([kspace[:1], kspace])) == [0, *range(2, n_coils + 1)]


@scans
@levels
@pytest.mark.parametrize("gain", [0.01, 0.1, 0.3, 3.0])
def test_one_channel_of_another_gain(n_coils, snr_db, gain):
    kspace, std = kspace_of(n_coils, snr_db, gains_of(n_coils, gain))
    assert estimate_noise_std(kspace, MASK) == pytest.approx(std, rel=0.06)


@scans
@levels
def test_channels_of_unequal_gains(n_coils, snr_db):
    kspace, std = kspace_of(n_coils, snr_db, spread_gains(n_coils))
    assert estimate_noise_std(kspace, MASK) == pytest.approx(std, rel=0.06)


@pytest.mark.parametrize("snr_db", [20, 30])
def test_unequal_gains_of_a_square_acs(snr_db):
    gains = spread_gains(18)
    kspace, _, _, std = scan(18, SHAPE, snr_db)
    mask = crop_or_pad(torch.ones(24, 24), SHAPE)
    estimate = estimate_noise_std(gains[:, None, None] * kspace * mask, mask)
    assert estimate == pytest.approx(std * float(gains.square().mean().sqrt()), rel=0.15)


def test_a_channel_of_far_more_noise_is_told_from_the_others():
    """Noise of one channel without signal, in which the others keep theirs."""
    kspace, std = kspace_of(8, 25)
    noise = torch.randn(SHAPE, dtype=torch.complex64, generator=torch.Generator().manual_seed(5))
    kspace[CHANNEL] = 5 * std * noise * MASK
    expected = std * ((7 + 25) / 8) ** 0.5
    assert estimate_noise_std(kspace, MASK) == pytest.approx(expected, rel=0.06)


def test_the_only_live_channel_is_a_single_coil():
    kspace, _ = kspace_of(1, 20)
    several = torch.cat([0 * kspace, kspace, -2j * kspace])
    assert estimate_noise_std(several, MASK) == estimate_noise_std(kspace, MASK)


@scans
def test_an_estimate_is_never_zero(n_coils):
    """Not of samples without noise either; only of samples that are zero."""
    plain = torch.outer(torch.hann_window(SHAPE[0]), torch.hann_window(SHAPE[1]))
    factors = torch.arange(1, n_coils + 1)[:, None, None]
    for kspace in (factors * plain + 0j, kspace_of(n_coils, 300)[0]):
        size = float(kspace.abs().square().mean().sqrt())
        assert 0.1 * ROUNDING * size < estimate_noise_std(kspace, MASK) < 1e-4 * size
    assert estimate_noise_std(0 * kspace, MASK) == 0


@pytest.mark.parametrize("n_coils", [8, 14])
def test_a_zero_channel_changes_neither_image_nor_figures(n_coils):
    """8 coils are reconstructed as they are; 14 are compressed to 12 virtual ones."""
    kspace, _ = kspace_of(n_coils, 15)
    zero = torch.zeros(1, *SHAPE, dtype=torch.complex64)
    more = torch.cat([kspace[:CHANNEL], zero, kspace[CHANNEL:]])
    recon = load_model("cg-sense+sinc")
    one, other = (recon(KSpaceSlice.from_array(x, MASK)) for x in (kspace, more))
    assert float((other.image - one.image).abs().max()) < 1e-3 * float(one.image.abs().max())
    assert estimate_noise_std(more, MASK) == estimate_noise_std(kspace, MASK)
    for figure in ("noise_std", "kspace_residual", "expected_residual", "snr_db"):
        expected = getattr(one.report, figure)
        assert getattr(other.report, figure) == pytest.approx(expected, rel=1e-3)


def test_a_noisy_scan_with_a_zero_channel_does_not_contradict_its_measurement():
    kspace, _ = kspace_of(8, 6, gains_of(8, 0))
    report = load_model("cg-sense+sinc")(KSpaceSlice.from_array(kspace, MASK)).report
    assert report.kspace_residual > 0.25
    assert report.kspace_residual == pytest.approx(report.expected_residual, rel=0.1)
