"""Maps of what a network may have made up: laws on a scan whose truth is known."""

import dataclasses

import pytest
import torch

from jrsr_core.calibration.calibrate import CalibratedSlice
from jrsr_core.data import MAP_ALARM
from jrsr_core.models.consistency import CAUTION, DataConsistency
from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.physics.resolution import decimate
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.physics.solvers import conjugate_gradient
from jrsr_core.reconstruction.load import load_model
from jrsr_core.reconstruction.quality import (
    channel_power,
    contradicted_detail,
    expected_level,
    expected_residual,
    hallucination_maps,
    noise_power,
    residual_power,
)
from jrsr_core.simulation.masks import make_mask
from tests.helpers.synthetic import coil_profiles, grid, phantom, unit_norm

from .test_reconstructor import make_slice

HR, LR = (96, 112), (48, 56)
NOISE = 0.01


def measured(noise=NOISE, seed=1):
    """A calibrated scan of a known image, and that image."""
    truth, inside = phantom(HR)
    truth = truth / truth.abs().max()
    csm = unit_norm(coil_profiles(8, HR))[None]
    sense = SenseOperator(csm, make_mask("gaussian", LR, 2.0, n_acs=16))
    clean = sense(truth[None])
    generator = torch.Generator().manual_seed(seed)
    noisy = clean + noise * sense.mask * torch.randn(
        clean.shape, dtype=torch.complex64, generator=generator
    )
    return CalibratedSlice(noisy, sense, torch.tensor([noise]), 1.0, (16, 56), 0.0), truth, inside


def consistent(prior, calibrated) -> ModelOutput:
    """What a network that drew `prior` would deliver."""
    step = DataConsistency(n_iter=60).eval()
    sense = calibrated.sense
    image = step(prior, sense.adjoint(calibrated.kspace), sense, calibrated.noise_std)
    low = decimate(prior, LR)
    return ModelOutput(image, low, prior=prior, prior_weight=step.mu(calibrated.noise_std))


def lesion(radius=3.0, at=(0.1, 0.05), contrast=0.3):
    y, x = grid(HR)
    distance = (((y - at[0]) * HR[0]) ** 2 + ((x - at[1]) * HR[1]) ** 2).sqrt()
    return contrast * torch.sigmoid(2 * (radius - distance)), distance < radius


@torch.inference_mode()
def test_a_faithful_image_leaves_noise_only():
    calibrated, truth, inside = measured()
    maps = hallucination_maps(consistent(truth[None], calibrated), calibrated)
    noise_only = dataclasses.replace(
        calibrated, kspace=measured(seed=2)[0].kspace - calibrated.sense(truth[None])
    )
    from_noise = hallucination_maps(
        consistent(torch.zeros(1, *HR, dtype=torch.complex64), noise_only), noise_only
    )["taken_back"]
    ratio = maps["taken_back"][0][inside].norm() / from_noise[0][inside].norm()
    assert float(ratio) == pytest.approx(1.0, abs=0.15)
    # Of level^2, noise and the error tau of the networks, an image without an error has the noise.
    mu = consistent(truth[None], calibrated).prior_weight
    level = expected_level(calibrated, mu)[0][inside]
    share = 1 - (NOISE / CAUTION) ** 2 / (float(mu) * level.square())
    found = maps["hallucination"][0][inside].square().mean()
    assert float(found) == pytest.approx(float(share.mean()), rel=0.1)
    assert float(maps["unmeasured"][0][inside].norm()) > 2 * float(from_noise[0][inside].norm())


@torch.inference_mode()
@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_the_expected_level_is_that_of_the_closed_form(weight):
    """Fully sampled, with one map of 1: A^H A is g^2 within the measured band and 0 beyond."""
    sense = SenseOperator(torch.ones(1, 1, *HR, dtype=torch.complex64), torch.ones(LR))
    calibrated = CalibratedSlice(
        torch.zeros(1, 1, *LR, dtype=torch.complex64), sense, torch.tensor([NOISE]), 1.0, LR, 0.0
    )
    level = expected_level(calibrated, torch.full((1, 1, 1), weight))
    g2 = (LR[0] * LR[1]) / (HR[0] * HR[1])
    # The noise of the band is spread over all pixels of the image.
    noise = g2 * NOISE**2 / (g2 + weight) ** 2 * g2
    tau = NOISE / (CAUTION * weight**0.5)
    assert float(level.square().mean()) == pytest.approx(noise + tau**2, rel=0.02)
    assert float(level.std() / level.mean()) < 0.15


def stripes(period):
    """Stripes along x with a period in HR pixels."""
    return torch.cos(2 * torch.pi * torch.arange(HR[1]) / period)


@torch.inference_mode()
def test_detail_that_the_measurement_contradicts_is_counted_and_other_detail_is_not():
    calibrated, truth, inside = measured()

    def share(image):
        return contradicted_detail(consistent_as_delivered(image), calibrated)

    def consistent_as_delivered(image):
        return ModelOutput(image[None], decimate(image[None], LR))

    faithful = share(truth)
    # Stripes within the measured band, and finer ones, which nothing measured contradicts.
    added = 0.1 * inside
    measured_band, beyond = share(truth + added * stripes(5.0)), share(truth + added * stripes(2.3))
    assert faithful < 0.1
    assert measured_band > 0.3
    assert beyond < faithful + 0.05


@torch.inference_mode()
def test_a_planted_lesion_lights_up():
    calibrated, truth, inside = measured()
    added, where = lesion()
    phase = truth / truth.abs().clamp_min(1e-6)
    quiet = hallucination_maps(consistent(truth[None], calibrated), calibrated)
    loud = hallucination_maps(consistent((truth + added * phase)[None], calibrated), calibrated)
    for name in ("taken_back", "hallucination"):
        assert float(loud[name][0][where].mean()) > 3 * float(quiet[name][0][where].mean()), name
    elsewhere = inside & (lesion(radius=12)[0] < 1e-3)
    background = float(loud["taken_back"][0][elsewhere].mean())
    assert float(loud["taken_back"][0][where].mean()) > 5 * background
    assert float(loud["hallucination"][0][where].amax()) > MAP_ALARM


@torch.inference_mode()
def test_stripes_finer_than_the_measurement_light_up():
    calibrated, truth, _ = measured()
    _, where = lesion(radius=6.0)
    stripes = 0.15 * where * (-1.0) ** torch.arange(HR[1])
    phase = truth / truth.abs().clamp_min(1e-6)
    quiet = hallucination_maps(consistent(truth[None], calibrated), calibrated)
    loud = hallucination_maps(consistent((truth + stripes * phase)[None], calibrated), calibrated)
    level = expected_level(calibrated, consistent(truth[None], calibrated).prior_weight)
    silent = [float(m["taken_back"][0][where].mean()) for m in (quiet, loud)]
    assert silent[1] == pytest.approx(silent[0], rel=0.3)
    before, after = (
        float((m["hallucination"] * level - m["taken_back"])[0][where].mean())
        for m in (quiet, loud)
    )
    assert after > 0.02 and after > 10 * before


@torch.inference_mode()
def test_the_image_is_the_measured_part_plus_the_unmeasured_one():
    calibrated, truth, _ = measured(noise=0.03)
    output = consistent((truth + lesion()[0])[None], calibrated)
    sense, mu = calibrated.sense, output.prior_weight
    least_squares, _ = conjugate_gradient(
        lambda v: sense.gram(v) + mu * v, sense.adjoint(calibrated.kspace), n_iter=200
    )
    unmeasured = hallucination_maps(output, calibrated)["unmeasured"]
    rest = (output.image - least_squares).abs()
    assert float((rest - unmeasured).norm() / output.image.norm()) < 0.01


@torch.inference_mode()
def test_systems_without_consistency_show_what_it_would_take_back():
    calibrated, truth, _ = measured()
    added, where = lesion()
    magnitude = (truth.abs() + added)[None]
    output = ModelOutput(magnitude, decimate(truth[None], LR))
    maps = hallucination_maps(output, calibrated)["taken_back"][0]
    # Its phase is that of the LR image, smoothed: not as sharp as with the phase known.
    assert float(maps[where].mean()) > 2 * float(maps[~where].mean())


@torch.inference_mode()
def test_residual_of_the_truth_is_what_noise_explains():
    calibrated, truth, _ = measured(noise=0.03)
    output = ModelOutput(truth[None], decimate(truth[None], LR))
    expected = expected_residual(calibrated)
    assert residual_power(output, calibrated).residuals()[0] == pytest.approx(expected, rel=0.02)
    twice = dataclasses.replace(
        calibrated,
        kspace=torch.cat([calibrated.kspace] * 2),
        noise_std=torch.cat([calibrated.noise_std] * 2),
    )
    assert expected_residual(twice) == pytest.approx(expected, rel=1e-5)


def noise_of(calibrated):
    return noise_power(calibrated, channel_power(calibrated.kspace))


@pytest.mark.parametrize("rest", [0.0, 1e-4])
def test_channels_that_measure_nothing_have_no_noise(rest):
    """A zero channel, or one that compression left with rounding, beside eight live ones."""
    calibrated, *_ = measured()
    kspace = calibrated.kspace
    more = torch.cat([kspace, rest * NOISE * calibrated.sense.mask * (kspace[:, :1] != 0)], 1)
    both = dataclasses.replace(calibrated, kspace=more)
    assert float(noise_of(both)) == pytest.approx(float(noise_of(calibrated)))
    expected = 8 * NOISE**2 * float(calibrated.sense.mask.sum())
    assert float(noise_of(calibrated)) == pytest.approx(expected)


def test_slices_of_a_batch_have_channels_of_their_own():
    calibrated, *_ = measured()
    partly = calibrated.kspace.clone()
    partly[:, :2] = 0
    pair = dataclasses.replace(
        calibrated,
        kspace=torch.cat([calibrated.kspace, partly]),
        noise_std=calibrated.noise_std.repeat(2),
    )
    one, other = noise_of(pair).tolist()
    assert other == pytest.approx(6 / 8 * one)


@pytest.mark.parametrize("name", ["jrsr-dc", "cg-sense+sinc"])
def test_maps_come_with_the_image_only_where_wanted(name):
    _, slice_ = make_slice()
    image = load_model(name, maps=True)(slice_)
    assert set(image.maps) == {"hallucination", "taken_back", "unmeasured"}
    for value in image.maps.values():
        assert value.shape == image.image.shape and value.dtype == torch.float32
    size = float(image.maps["taken_back"].norm() / image.image.norm())
    assert image.report.taken_back == pytest.approx(size, rel=1e-3)
    plain = load_model(name)(slice_)
    assert not plain.maps and torch.equal(plain.image, image.image)
    louder = dataclasses.replace(
        slice_, kspace=100 * slice_.kspace, acs=100 * slice_.acs, noise_std=100 * slice_.noise_std
    )
    again = load_model(name, maps=True)(louder).maps
    for key, factor in (("taken_back", 100), ("hallucination", 1)):
        assert float(again[key].norm() / image.maps[key].norm()) == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("n_coils", [2, 8])
@pytest.mark.parametrize("noise_db", [18, 24, 30, 42])
def test_few_places_of_a_faithful_scan_are_above_the_alarm(noise_db, n_coils):
    """Fully sampled: the image of the networks is right within their error."""
    scan, slice_ = make_slice(
        (128, 112), n_coils=n_coils, n_acs=20, acceleration=1.0, noise_db=noise_db
    )
    full = dataclasses.replace(slice_, kspace=scan.fully_sampled, mask=torch.ones_like(slice_.mask))
    suspect = load_model("jrsr-dc", maps=True)(full).maps["hallucination"]
    inside = scan.truth > 0.25 * scan.truth.max()
    assert float((suspect[inside] > MAP_ALARM).float().mean()) < 0.05
    assert float(suspect[inside].median()) > 0.2
