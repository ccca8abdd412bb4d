"""Stated noise levels that cannot be those of the samples: not used, named with both numbers."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from jrsr_core.acs import cut_acs
from jrsr_core.calibration.stated_noise import (
    LARGE_SHARE,
    MAX_RATIO,
    excessive_noise_note,
    explained_share,
    noise_of_samples,
    without_excessive_noise,
)
from jrsr_core.data import KSpaceVolume
from jrsr_core.metrics.image import psnr
from jrsr_core.mrd.lines.acquired import NOISE, has_flag
from jrsr_core.physics.fourier import fft, ifft
from jrsr_core.reconstruction.fallback import fallback_image
from jrsr_core.reconstruction.load import load_model
from tests.helpers.mrd_scans import assembled, copied, scan_of_kspace, select
from tests.jrsr_core.reconstruction.test_contradiction import with_other_maps
from tests.jrsr_core.reconstruction.test_reconstructor import GEOMETRY, make_slice


def stated(slice_, factor):
    return dataclasses.replace(slice_, noise_std=factor * slice_.noise_std)


def numbers(note):
    """The stated level, its ratio to that of the samples, and that of the samples."""
    found = re.search(r"level (\S+) is (\S+) times that of the samples, ([^:]+):", note)
    return [float(x) for x in found.groups()]


@pytest.fixture(scope="module")
def scan():
    return make_slice((96, 112), noise_db=30.0)


@pytest.mark.parametrize("noise_db", [0.0, 10.0, 30.0, 50.0])
@pytest.mark.parametrize("n_coils", [1, 2, 8])
@pytest.mark.parametrize("shape", [(64, 64), (96, 112)])
def test_the_level_of_a_sound_scan_is_used(noise_db, n_coils, shape):
    _, slice_ = make_slice(shape, n_coils=n_coils, noise_db=noise_db, n_acs=12, acceleration=1.6)
    assert without_excessive_noise(slice_) is slice_
    assert slice_.noise_std < 0.5 * MAX_RATIO * noise_of_samples(slice_)


@pytest.mark.parametrize("loudest", [3.0, 10.0])
def test_channels_of_unequal_noise_are_sound(loudest):
    """The stated level is the root mean square over channels, one of which dominates it."""
    _, slice_ = make_slice((96, 112), noise_db=10.0)
    gains = torch.ones(slice_.n_coils)
    gains[2] = loudest
    kspace, acs = (gains[:, None, None] * x for x in (slice_.kspace, slice_.acs))
    level = slice_.noise_std * float(gains.square().mean().sqrt())
    unequal = dataclasses.replace(slice_, kspace=kspace, acs=acs, noise_std=level)
    assert explained_share(unequal) > LARGE_SHARE and not excessive_noise_note(unequal)


@pytest.mark.parametrize("noise_db", [8.0, 15.0])
@pytest.mark.parametrize("n_coils", [2, 8])
def test_the_level_of_a_scan_that_was_masked_in_the_image_is_used(noise_db, n_coils):
    """As where phase oversampling is removed by zeros; the null space of the margin is no noise."""
    _, slice_ = make_slice((96, 112), n_coils=n_coils, noise_db=noise_db, acceleration=1.0)
    ny = slice_.kspace.shape[1]
    inside = (torch.arange(ny) - ny // 2).abs() < ny // 3
    kspace = fft(ifft(slice_.kspace, -2) * inside[:, None], -2)
    masked = dataclasses.replace(slice_, kspace=kspace, acs=cut_acs(kspace, slice_.mask, (24, 24)))
    assert without_excessive_noise(masked) is masked


def test_what_noise_explains_is_the_root_of_its_share_of_the_power():
    _, slice_ = make_slice((96, 112), noise_db=20.0)
    kspace, mask = slice_.kspace.numpy().astype(complex), slice_.mask.numpy() > 0
    power = np.mean(np.abs(kspace[:, mask]) ** 2)
    expected = slice_.noise_std / power**0.5
    assert explained_share(slice_) == pytest.approx(expected, rel=1e-6)
    silent = dataclasses.replace(
        slice_,
        kspace=torch.cat([slice_.kspace, 0 * slice_.kspace[:1]]),
        acs=torch.cat([slice_.acs, slice_.acs[:1]]),
    )
    assert explained_share(silent) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("factor", [10.0, 70.0, 700.0])
def test_a_level_that_is_far_too_high_is_replaced_by_an_estimate(scan, factor):
    simulated, slice_ = scan
    recon = load_model("jrsr-dc")
    good, image = recon(slice_), recon(stated(slice_, factor))
    note = image.report.warnings[0]
    assert numbers(note) == pytest.approx(
        [factor * slice_.noise_std, factor, slice_.noise_std], rel=0.15
    )
    assert image.report.noise_std == pytest.approx(slice_.noise_std, rel=0.15)
    assert good.report.noise_stated and not image.report.noise_stated
    assert image.report.expected_residual == pytest.approx(good.report.expected_residual, rel=0.15)
    quality = float(psnr(image.magnitude, simulated.truth))
    assert quality > float(psnr(good.magnitude, simulated.truth)) - 0.3


def test_foreign_maps_are_found_in_spite_of_a_level_that_is_too_high(scan):
    """The contradiction would look like noise otherwise."""
    image = load_model("cg-sense+sinc", on_failure="fallback")(
        stated(with_other_maps(scan[1]), 70.0)
    )
    assert "contradicts the measurement" in image.report.fallback
    assert image.report.model == "zero-filled+sinc"


def volume_of(slice_, factor):
    planes, acs = (torch.stack([w * x for w in (1.0, 0.7)]) for x in (slice_.kspace, slice_.acs))
    level = factor * slice_.noise_std
    return KSpaceVolume(planes, slice_.mask, acs, GEOMETRY, noise_std=level, acs_noise_std=level)


def test_a_volume_is_judged_by_its_strongest_position(scan):
    recon = load_model("cg-sense+sinc")
    good, image = recon(volume_of(scan[1], 1.0)), recon(volume_of(scan[1], 70.0))
    assert not any("noise level" in w for w in good.report.warnings)
    assert good.report.noise_stated and not image.report.noise_stated
    assert numbers(image.report.warnings[0])[1] == pytest.approx(70, rel=0.15)
    difference = torch.linalg.vector_norm(image.magnitude - good.magnitude)
    assert float(difference / torch.linalg.vector_norm(good.magnitude)) < 0.02
    fallback = fallback_image(recon.slices, volume_of(scan[1], 70.0), "because").report
    assert fallback.model == "cg-sense+sinc" and fallback.expected_residual < 0.2
    assert "noise level" in fallback.warnings[0]


def noisy_scan(n_slices=2):
    """Header and lines of a scan with noise lines, at 30 dB."""
    _, slice_ = make_slice((96, 112), noise_db=30.0)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn((slice_.n_coils, 4096), dtype=torch.complex64, generator=generator)
    kspace = torch.stack([slice_.kspace] * n_slices)
    return scan_of_kspace(kspace, slice_.mask, noise=slice_.noise_std * noise)


def with_noise_lines(lines, change):
    """The scan whose noise lines are changed, given the strongest of its image lines."""
    lines = copied(lines)
    is_noise = has_flag(lines.heads, NOISE)
    image_lines = [d for d, n in zip(lines.data, is_noise, strict=True) if not n]
    signal = max(image_lines, key=np.linalg.norm)
    lines.data[:] = [
        change(d, signal) if n else d for d, n in zip(lines.data, is_noise, strict=True)
    ]
    return lines


def test_noise_lines_of_another_gain_whiten_as_the_right_ones():
    xml, lines = noisy_scan()
    recon = load_model("cg-sense+sinc")
    loud = assembled(xml, with_noise_lines(lines, lambda noise, signal: 70 * noise))
    for made, sound in zip(loud, assembled(xml, lines), strict=True):
        # Whitening keeps the mean scale of the coils.
        torch.testing.assert_close(made.kspace, sound.kspace, rtol=1e-4, atol=1e-4)
        image, good = recon(made), recon(sound)
        assert numbers(image.report.warnings[-1])[1] == pytest.approx(70, rel=0.15)
        difference = torch.linalg.vector_norm(image.magnitude - good.magnitude)
        assert float(difference / torch.linalg.vector_norm(good.magnitude)) < 0.02


def test_slices_of_unequal_strength_keep_their_ratio():
    """Noise lines that are too loud are so for all images of a scan."""
    xml, lines = noisy_scan()
    is_second = lines.heads["idx"]["slice"] == 1
    lines.data[:] = [d / 100 if weak else d for d, weak in zip(lines.data, is_second, strict=True)]
    loud = with_noise_lines(lines, lambda noise, signal: 10 * noise)
    strong, weak = assembled(xml, loud)
    torch.testing.assert_close(strong.kspace, 100 * weak.kspace, rtol=1e-4, atol=1e-4)


def test_noise_lines_with_signal_whiten_nothing():
    xml, lines = noisy_scan()
    echoes = with_noise_lines(lines, lambda noise, signal: np.resize(signal, noise.shape))
    image_lines = np.flatnonzero(~has_flag(lines.heads, NOISE))
    without = assembled(xml, select(lines, image_lines))
    for made, plain in zip(assembled(xml, echoes), without, strict=True):
        assert torch.equal(made.kspace, plain.kspace) and torch.equal(made.acs, plain.acs)
        assert made.noise_std is None and made.notes[-1].startswith("noise lines hold signal")
