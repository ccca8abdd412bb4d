"""The setting `denoise`: how much of the measured noise an image keeps."""

import dataclasses

import numpy as np
import pytest
import torch

from gadget.compute.model import check_model
from gadget.errors import UsageError
from gadget.output.report.page import ScanPage
from gadget.settings import Settings
from jrsr_core.metrics.image import psnr, ssim
from jrsr_core.models.consistency import (
    CAUTION,
    LEAST_ERROR,
    WINDOW,
    DataConsistency,
    check_denoise,
    default_weight,
    denoising,
    relative_error,
)
from jrsr_core.models.registry import build_model
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.images import image_meta
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.reconstruction.load import load_model
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import simulate_protocol
from tests.helpers.synthetic import noise_like
from training.data.testset import as_kspace_slice

from .test_quality import NOISE, consistent, lesion, measured

SYSTEMS = ("jrsr-dc", "cg-sense+sinc+dc")


@pytest.fixture(scope="module")
def scan():
    """A noisy scan of a head."""
    head = brain_phantom((112, 128))
    return simulate_protocol("brain-5x", head, seed=1, n_coils=6, n_acs=16, noise_db=24.0)


def test_the_weight_of_the_networks_goes_from_caution_to_that_of_the_training():
    block, noise = DataConsistency(), torch.tensor([0.003, 0.03])
    trained = block.train().mu(noise)
    block.eval()
    assert torch.equal(block.mu(noise), block.mu(noise, 0.0))
    assert torch.allclose(block.mu(noise, 0.0) * CAUTION**2, trained)
    assert torch.allclose(block.mu(noise, 1.0) * CAUTION, trained)
    assert torch.allclose(block.mu(noise, 0.5) ** 2, block.mu(noise, 0.0) * block.mu(noise, 1.0))


def test_a_system_without_consistency_has_the_weight_of_the_untrained_one():
    noise = torch.tensor([0.003, 0.03])
    tau2 = 0.03**2 + (0.5 * noise) ** 2
    expected = (noise**2 / (CAUTION**2 * tau2))[:, None, None]
    torch.testing.assert_close(default_weight(noise), expected)
    with denoising(0.5):
        assert torch.equal(default_weight(noise), build_model("sr+dc").eval().consistency.mu(noise))


def test_the_error_of_an_image_is_expected_where_it_has_detail():
    image = torch.ones(2, 40, 60, dtype=torch.complex64)
    image[0, :, 30:] = 3.0j
    error = relative_error(image)
    assert torch.equal(error[1], torch.ones(40, 60)), "no detail: everywhere the same"
    edge = torch.zeros(60, dtype=torch.bool)
    edge[29 - WINDOW // 2 : 30 + WINDOW // 2] = True
    assert bool((error[0, :, edge] > 5).all())
    assert bool((error[0, :, ~edge] == LEAST_ERROR).all())
    # The scale of an image, its phase and its orientation do not matter.
    torch.testing.assert_close(relative_error(-40j * image), error)
    torch.testing.assert_close(relative_error(image.mT.contiguous()), error.mT)


@torch.inference_mode()
def test_noise_goes_from_even_regions_and_an_edge_that_was_measured_stays():
    # Fully sampled; x_SR is right but for an edge, which it draws half as high.
    calibrated, truth, _ = measured()
    sense, noise = calibrated.sense, calibrated.noise_std
    high = torch.zeros(truth.shape[-2:])
    high[20:60, 20:60] = 4 * float(noise)
    image = (truth + high)[None]
    # The noise of the scan and the step that x_SR has missed.
    back = sense.adjoint(calibrated.kspace + sense(high[None].to(image)))
    block = DataConsistency(n_iter=60).eval()
    errors, kept = [], []
    for denoise in (0.0, 1.0):
        with denoising(denoise):
            found = block(truth[None] + 0.5 * high, back, sense, noise)
        outside = (found - image).abs()[0][high == 0]
        errors.append(float(outside.square().mean().sqrt()))
        kept.append(float((found - truth[None]).real[0][high > 0].mean() / high.max()))
    assert errors[1] < 0.8 * errors[0]
    assert kept[0] > 0.9 and kept[1] > 0.7


@torch.inference_mode()
@pytest.mark.parametrize("denoise", [0.0, 0.5, 1.0])
def test_white_noise_is_removed_by_the_factor_of_a_wiener_filter(denoise):
    """Fully sampled, one map of 1, and a prior without error or detail.

    Then A^H A = g^2 in the measured band, and of the noise A^H n / g^2 remains 1 / (1 + mu / g^2).
    """
    hr, lr, std = (32, 40), (16, 20), 0.03
    sense = SenseOperator(torch.ones(1, 1, *hr, dtype=torch.complex64), torch.ones(lr))
    prior = torch.ones(1, *hr, dtype=torch.complex64)
    noise = noise_like(torch.zeros(1, 1, *lr, dtype=torch.complex64), std)
    block = DataConsistency(tau0=0.03, tau1=0.5, n_iter=60).eval()
    with denoising(denoise):
        image = block(prior, sense.adjoint(sense(prior) + noise), sense, torch.tensor([std]))
    g = 1 / 2
    mu = std**2 / (CAUTION ** (2 - denoise) * (0.03**2 + (0.5 * std) ** 2))
    whole = np.fft.ifft2(np.fft.ifftshift(np.pad(noise[0, 0], ((8, 8), (10, 10)))), norm="ortho")
    expected = np.fft.fftshift(whole) / g / (1 + mu / g**2)
    np.testing.assert_allclose(image[0] - prior[0], expected, atol=0.01 * std)


@pytest.mark.parametrize("name", SYSTEMS)
def test_zero_is_the_image_without_the_setting_bit_for_bit(name, scan):
    slice_ = as_kspace_slice(scan)
    before, after = load_model(name)(slice_), load_model(name, denoise=0.0)(slice_)
    assert torch.equal(before.image, after.image)
    assert before.report.denoise == 0.0


def test_more_of_it_leaves_the_measurement_by_less_than_its_noise(scan):
    slice_ = as_kspace_slice(scan)
    images = [load_model("jrsr-dc", denoise=d)(slice_) for d in (0.0, 0.5, 1.0)]
    residuals = [i.report.kspace_residual for i in images]
    assert residuals[0] < residuals[1] < residuals[2]
    expected = images[0].report.expected_residual
    assert residuals[2] ** 2 - expected**2 < (0.75 * expected) ** 2
    similar = [float(ssim(i.magnitude, scan.truth)) for i in images]
    assert similar[0] < similar[1] < similar[2]
    assert float(psnr(images[2], scan.truth)) > float(psnr(images[0], scan.truth)) - 0.2


@torch.inference_mode()
def test_maps_are_those_of_the_image_that_keeps_what_was_measured():
    from jrsr_core.reconstruction.quality import hallucination_maps

    calibrated, truth, _ = measured()
    prior = (truth + lesion()[0])[None]
    kept = consistent(prior, calibrated)
    removed = dataclasses.replace(kept, image=prior, denoise=1.0)
    maps, others = (hallucination_maps(o, calibrated) for o in (kept, removed))
    for name, value in maps.items():
        assert float((value - others[name]).abs().max()) < 0.05 * float(value.abs().max()), name


def test_report_and_images_say_that_noise_was_removed(scan):
    images = [load_model("jrsr-dc", denoise=d)(as_kspace_slice(scan)) for d in (0.0, 0.7)]
    kept, removed = (image_meta(i, ScanHeader("", ()), 1) for i in images)
    text = "Measured noise removed (denoise 0.7)"
    assert text in removed["ImageComment"] and text in removed["ImageComments"]
    assert "denoise" not in kept["ImageComments"]
    assert images[1].report.denoise == 0.7 and removed["JRSR_denoise"] != kept["JRSR_denoise"]


def test_systems_that_cannot_are_named():
    for model in ("jrsr", "cg-sense+sinc"):
        with pytest.raises(UsageError, match=r"denoise is 0\.5, but only jrsr-dc and systems with"):
            check_model(Settings(model=model, denoise=0.5))
        with pytest.raises(ValueError, match=r"denoise is 0\.5, but only jrsr-dc and systems with"):
            load_model(model, denoise=0.5)
    for model in SYSTEMS:
        check_model(Settings(model=model, denoise=0.5))
    with pytest.raises(UsageError, match="denoise is '2', expected a number from 0 to 1"):
        Settings(denoise=2)
    with pytest.raises(ValueError, match="denoise is -1, expected a number from 0 to 1"):
        check_denoise(build_model("jrsr-dc", preset="tiny"), -1)
    with pytest.raises(ValueError, match=r"denoise is '0\.5', expected a number from 0 to 1"):
        check_denoise(build_model("jrsr-dc", preset="tiny"), "0.5")
    with pytest.raises(ValueError, match=r"^denoise is True, expected a number from 0 to 1$"):
        check_denoise(build_model("jrsr-dc", preset="tiny"), True)


def test_training_has_no_denoise():
    block = DataConsistency().train()
    noise = torch.tensor([NOISE])
    with denoising(0.5):
        assert torch.equal(block.mu(noise, block.denoise), block.mu(noise))


def test_the_page_has_a_figure_for_it(scan):
    report = load_model("jrsr-dc", denoise=0.7)(as_kspace_slice(scan)).report
    page = object.__new__(ScanPage)
    object.__setattr__(page, "reports", [report])
    plan = type("Plan", (), {"noise": ()})
    job = type("Job", (), {"plan": plan, "settings": Settings(denoise=0.7)})
    object.__setattr__(page, "job", job)
    assert ("denoise", "0.7", "removes the measured noise, 0 keeps it") in page.figures
