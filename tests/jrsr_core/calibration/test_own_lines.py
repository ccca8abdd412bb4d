"""Shared coil maps are tested against the own calibration lines of every frame."""

import dataclasses

import pytest
import torch

from jrsr_core.acs import cut_acs
from jrsr_core.calibration.acs_noise import is_own_centre
from jrsr_core.calibration.coils import calibrate_coils
from jrsr_core.calibration.own_lines import (
    LIMIT,
    coils_that_explain,
    other_acs,
    own_acs,
    unexplained,
)
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.data import KSpaceSlice, SliceGeometry
from jrsr_core.metrics.image import psnr
from jrsr_core.physics.fourier import fft2c
from jrsr_core.reconstruction.load import load_model
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import simulate_protocol
from tests.helpers.synthetic import coil_profiles, grid, line_mask, noise_like, phantom

GEOMETRY = SliceGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5.0, 200.0, 200.0))
SHAPE = (80, 72)
SETTINGS = CalibrationSettings()


def frame(image, snr_db=40.0, seed=1, mask=None, n_coils=8):
    """A frame of one scan: coils and noise level are those of the full object."""
    whole, _ = phantom(SHAPE)
    profiles = coil_profiles(n_coils, SHAPE)
    std = float(fft2c(profiles * whole).abs().square().mean().sqrt()) * 10 ** (-snr_db / 20)
    kspace = fft2c(profiles * image)
    kspace = kspace + noise_like(kspace, std, seed)
    mask = line_mask(SHAPE, 2, n_acs=20) if mask is None else mask
    return KSpaceSlice(
        kspace * mask, mask, cut_acs(kspace, mask), GEOMETRY, noise_std=std, is_acs_shared=True
    )


def with_disc(image, radius, at=(0.38, -0.38)):
    y, x = grid(SHAPE)
    distance = (((y - at[0]) * SHAPE[0]) ** 2 + ((x - at[1]) * SHAPE[1]) ** 2).sqrt()
    return image + 1.0 * (distance < radius)


def left_half(image):
    return image * (grid(SHAPE)[1] < 0)


@pytest.mark.parametrize("snr_db", [18, 40, 60])
@pytest.mark.parametrize("n_coils", [4, 8, 16])
def test_maps_of_the_same_object_are_kept(n_coils, snr_db):
    image, _ = phantom(SHAPE)
    first = frame(image, snr_db, n_coils=n_coils)
    later = dataclasses.replace(frame(image, snr_db, 2, n_coils=n_coils), acs=first.acs)
    coils = calibrate_coils(first, SETTINGS)
    assert coils_that_explain(later, coils, SETTINGS) is coils


def test_maps_of_a_part_of_the_object_are_kept_for_the_part():
    image, _ = phantom(SHAPE)
    first = frame(image)
    coils = calibrate_coils(first, SETTINGS)
    later = dataclasses.replace(frame(left_half(image), seed=2), acs=first.acs)
    assert coils_that_explain(later, coils, SETTINGS) is coils


@pytest.mark.parametrize("snr_db", [18, 40])
def test_what_appears_later_is_calibrated_by_its_own_lines(snr_db):
    image, _ = phantom(SHAPE)
    for early, late in ((left_half(image), image), (image, with_disc(image, 4.0))):
        first, later = frame(early, snr_db), frame(late, snr_db, seed=2)
        coils = calibrate_coils(first, SETTINGS)
        found = coils_that_explain(dataclasses.replace(later, acs=first.acs), coils, SETTINGS)
        assert "own lines calibrate it" in found.note
        own = calibrate_coils(later, SETTINGS)
        torch.testing.assert_close(found.csm, own.csm)
        left, _ = unexplained(later.acs, later, coils)
        assert left > 3 * LIMIT and unexplained(later.acs, later, found)[0] < left / 3


def test_only_lines_of_its_own_count():
    image, _ = phantom(SHAPE)
    slice_ = frame(image)
    assert own_acs(slice_, 6).shape == (8, 20, SHAPE[1])
    assert other_acs(slice_, 6) is None
    assert other_acs(dataclasses.replace(slice_, acs=2 * slice_.acs), 6) is not None
    few = frame(image, mask=line_mask(SHAPE, 4, n_acs=8))
    assert own_acs(few, 6) is None
    sparse = torch.zeros(SHAPE)
    sparse[1::2] = 1
    assert own_acs(dataclasses.replace(slice_, mask=sparse), 6) is None


def test_one_rule_says_whose_lines_an_acs_holds():
    """One sample off by 3e-4 of the largest is rounding; another object is another scan."""
    image, _ = phantom(SHAPE)
    slice_ = frame(image)
    rounded = slice_.acs.clone()
    rounded[0, 0, 0] += 3e-4 * rounded.abs().max()
    for acs, is_own in ((rounded, True), (frame(left_half(image)).acs, False)):
        given = dataclasses.replace(slice_, acs=acs)
        assert is_own_centre(given) == (other_acs(given, 6) is None) == is_own


def brain_frame(image):
    scan = simulate_protocol("brain-5x", image, n_coils=8, acceleration=2, n_acs=20, seed=1)
    acs = cut_acs(scan.kspace, scan.mask)
    return scan, KSpaceSlice(
        scan.kspace, scan.mask, acs, GEOMETRY, noise_std=scan.noise_std, is_acs_shared=True
    )


@pytest.mark.parametrize("name", ["jrsr-dc", "cg-sense+sinc"])
def test_a_later_frame_is_as_good_as_one_calibrated_alone(name):
    """The first frame shows half of the head; with its maps the other half is missing."""
    whole = brain_phantom((128, 112))
    half = whole * (torch.arange(112) < 56)
    (_, first), (scan, later) = brain_frame(half), brain_frame(whole)
    recon = load_model(name)
    alone = float(psnr(recon(dataclasses.replace(later)).magnitude, scan.truth))
    recon(first)
    image = recon(dataclasses.replace(later, acs=first.acs))
    assert float(psnr(image.magnitude, scan.truth)) == pytest.approx(alone, abs=0.02)
    assert "own lines calibrate it" in image.report.warnings[0]
    assert not any("own lines" in w for w in recon(first).report.warnings)
