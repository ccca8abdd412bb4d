"""Coils of far more noise than the others, without noise lines: found, weighted, stated."""

from dataclasses import replace

import pytest
import torch

from jrsr_core.calibration.loud_coils import coil_weights, with_weighted_coils
from jrsr_core.data import KSpaceSlice, KSpaceVolume
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.physics.fourier import fft, fft2c
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.reconstruction.load import load_model
from jrsr_core.simulation.acquisition import noise_std_for
from jrsr_core.simulation.masks import make_mask
from tests.helpers.mrd_scans import assembled, scan_of_kspace
from tests.helpers.synthetic import coil_profiles, noise_like, phantom

LOUD_COIL = 2


def kspace_of(n_coils, db, shape=(96, 104), loud=1.0, gain=1.0):
    """Fully sampled k-space of the phantom; one coil has `loud` times the noise."""
    image, _ = phantom(shape)
    clean = fft2c(coil_profiles(n_coils, shape) * image).to(torch.complex64)
    levels = torch.ones(n_coils)
    levels[LOUD_COIL % n_coils] = loud
    clean[LOUD_COIL % n_coils] *= gain
    noise = noise_like(clean, noise_std_for(clean, db))
    return clean + levels[:, None, None] * noise


def acs_of(kspace):
    return crop_or_pad(kspace, (24, kspace.shape[-1]))


@pytest.mark.parametrize("db", [15, 25, 35, 50])
@pytest.mark.parametrize("n_coils", [2, 4, 12, 32])
def test_coils_of_equal_noise_are_left_as_they_are(n_coils, db):
    assert coil_weights(acs_of(kspace_of(n_coils, db))) is None


@pytest.mark.parametrize("n_coils", [2, 4, 12, 32])
def test_what_is_no_measure_of_noise_weighs_nothing(n_coils):
    clean = kspace_of(n_coils, 300)
    assert coil_weights(acs_of(clean)) is None
    assert coil_weights(0 * acs_of(clean)) is None
    assert coil_weights(acs_of(clean)[:1]) is None
    assert coil_weights(crop_or_pad(clean, (2, 2))) is None
    # Readouts without ends; the first is one position of a 3-D scan.
    assert coil_weights(crop_or_pad(clean, (96, 1))) is None
    assert coil_weights(crop_or_pad(clean, (96, 3))) is None
    assert coil_weights(acs_of(clean) * torch.tensor(float("nan"))) is None


@pytest.mark.parametrize("gain", [0.0, 1.0])
@pytest.mark.parametrize("db", [15, 25, 35])
@pytest.mark.parametrize("n_coils", [8, 16, 32])
def test_a_loud_coil_gets_the_noise_of_the_others(n_coils, db, gain):
    weights = coil_weights(acs_of(kspace_of(n_coils, db, loud=25.0, gain=gain)))
    expected = torch.ones(n_coils)
    expected[LOUD_COIL] = 1 / 25
    torch.testing.assert_close(weights, expected, rtol=0.35, atol=0)
    assert int((weights != 1).sum()) == 1


def test_empty_coils_are_no_measure_of_the_others():
    kspace = kspace_of(12, 25)
    kspace[3:10] = 0
    assert coil_weights(acs_of(kspace)) is None


def test_weights_do_not_depend_on_the_unit():
    acs = acs_of(kspace_of(8, 25, loud=25.0))
    torch.testing.assert_close(coil_weights(1e-12 * acs), coil_weights(acs))


def loud_scan(shape=(96, 104), loud=25.0, noise=None, n_coils=12):
    """Header and lines of an undersampled scan one coil of which is noise alone."""
    kspace = kspace_of(n_coils, 25, shape, loud, gain=0.0 if loud > 1 else 1.0)
    mask = make_mask("regular", shape, 2, n_acs=24)
    request = ScanRequest(oversampling=False)
    return scan_of_kspace((mask * kspace)[None], mask, noise=noise, request=request)


def test_a_noise_only_coil_costs_nothing():
    """The image is that of the other coils, which keep their samples bit by bit."""
    recon = load_model("cg-sense+sinc", accept_contradictions=True)
    (made,) = assembled(*loud_scan())
    (raw,) = assembled(*loud_scan(), prewhiten=False)
    truth = phantom((96, 104))[0].abs()

    def psnr(slice_):
        image = recon(slice_).low_resolution.abs()
        image = image * (image * truth).sum() / image.square().sum()
        return float(10 * torch.log10(truth.max() ** 2 / (image - truth).square().mean()))

    kept = [c for c in range(12) if c != LOUD_COIL]
    without = type(raw)(raw.kspace[kept], raw.mask, raw.acs[kept], raw.geometry)
    assert psnr(made) == pytest.approx(psnr(without), abs=0.1)
    assert psnr(made) > psnr(raw) + 3
    assert torch.equal(made.kspace[kept], raw.kspace[kept])
    assert [n for n in made.notes if "2 (2" in n and "noisier than the others" in n]
    assert not raw.notes


def test_an_array_is_treated_as_a_scan_of_the_same_samples():
    recon = load_model("cg-sense+sinc", accept_contradictions=True)
    (made,) = assembled(*loud_scan())
    (raw,) = assembled(*loud_scan(), prewhiten=False)
    array = KSpaceSlice.from_array(raw.kspace, raw.mask, acs=raw.acs, geometry=raw.geometry)
    image = recon(array)
    torch.testing.assert_close(image.magnitude, recon(made).magnitude)
    assert image.report.warnings == recon(made).report.warnings


@pytest.mark.parametrize("of_all", [False, True])
def test_a_stated_noise_level_is_that_of_the_other_coils(of_all):
    """The image is that of an unknown level; a level of all coils together is not used."""
    (raw,) = assembled(*loud_scan(), prewhiten=False)
    array = KSpaceSlice.from_array(raw.kspace, raw.mask, geometry=raw.geometry)
    level = noise_std_for(kspace_of(12, float("inf")), 25)
    stated = level * ((11 + 25**2) / 12) ** 0.5 if of_all else level
    recon = load_model("cg-sense+sinc")
    expected, image = recon(array), recon(replace(array, noise_std=stated))
    torch.testing.assert_close(image.magnitude, expected.magnitude, rtol=1e-3, atol=1e-3)
    assert image.report.noise_std == pytest.approx(level, rel=0.05)
    loud, *others = image.report.warnings
    assert loud == expected.report.warnings[0] and "2 (2" in loud
    assert [text.startswith("stated noise level") for text in others] == [True] * of_all


def test_coils_of_a_volume_are_weighted_alike():
    slice_ = noisy_planes(LOUD_COIL)
    volume = KSpaceVolume.from_array(slice_)
    weighted = with_weighted_coils(volume)
    noise = {d: outer_power(d.hybrid) for d in (volume, weighted)}
    kept = [c for c in range(6) if c != LOUD_COIL]
    assert torch.equal(weighted.hybrid[:, kept], volume.hybrid[:, kept])
    assert noise[volume][LOUD_COIL] > 20 * noise[volume][kept].max()
    assert noise[weighted][LOUD_COIL] < 2 * noise[weighted][kept].max()
    ratios = [
        weighted.acs / volume.acs,
        weighted.hybrid[:, :, :1, :1] / volume.hybrid[:, :, :1, :1],
    ]
    torch.testing.assert_close(ratios[0], ratios[1].expand_as(ratios[0]))
    assert with_weighted_coils(replace(volume, is_assembled=True)).notes == volume.notes
    stated = with_weighted_coils(replace(volume, noise_std=0.01))
    assert torch.equal(stated.hybrid, weighted.hybrid) and stated.noise_std == 0.01


def noisy_planes(loud, shape=(24, 20, 32), n_coils=6):
    """K-space ``(coil, ky, kz, kx)`` of a box that coils see with a ramp; one coil is loud."""
    n, (ny, nz, nx) = n_coils, shape
    box = torch.zeros(shape)
    box[ny // 4 : -ny // 4, nz // 4 : -nz // 4, nx // 4 : -nx // 4] = 1
    ramps = torch.linspace(0, 3, n)[:, None, None, None] * torch.linspace(-1, 1, ny)[:, None, None]
    clean = fft(box * torch.exp(1j * ramps) * (1 + ramps.abs()), (-3, -2, -1))
    levels = torch.full((n,), 0.01)
    levels[loud] = 0.3
    noise = noise_like(clean.to(torch.complex64), 1.0)
    return clean.to(torch.complex64) + levels[:, None, None, None] * noise


def outer_power(hybrid):
    """Median power of the outermost planes along ky, by coil."""
    return hybrid[:, :, [0, -1]].abs().square().movedim(1, 0).flatten(1).median(1).values


def test_with_noise_lines_the_covariance_decides():
    one = noise_std_for(kspace_of(12, float("inf")), 25)
    noise = noise_like(torch.zeros(12, 4096, dtype=torch.complex64), one)
    noise[LOUD_COIL] *= 25.0
    (made,) = assembled(*loud_scan(noise=noise))
    assert made.noise_std is not None
    assert not [n for n in made.notes if "noisier" in n]
