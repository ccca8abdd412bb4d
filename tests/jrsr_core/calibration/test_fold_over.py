"""Objects larger than the field of view: found, taken out, put back; others are left alone."""

import dataclasses

import numpy as np
import pytest
import torch

from jrsr_core.acs import cut_acs
from jrsr_core.calibration import fold_over
from jrsr_core.calibration.calibrate import calibrate
from jrsr_core.calibration.coils import calibrate_coils
from jrsr_core.calibration.fold_over import LAMBDA, put_back, take_out
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.data import KSpaceSlice, KSpaceVolume, SliceGeometry
from jrsr_core.physics.fourier import fft2c, ifft2c
from jrsr_core.physics.resolution import crop_or_pad, grid_scale, sinc_interpolate
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.reconstruction.batch import stack_slices
from jrsr_core.reconstruction.fallback import fallback_image
from jrsr_core.reconstruction.load import load_model
from jrsr_core.reconstruction.volume import reconstruct_volume
from tests.helpers.synthetic import coil_profiles, line_mask, noise_like, phantom, unit_norm
from tests.laws import random_complex

HR = (128, 112)
GEOMETRY = SliceGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5.0, 200.0, 200.0))


def folded(x, ny):
    """What a field of view of `ny` rows makes of ``(..., y, x)``: rows beyond it come in again."""
    out = x.new_zeros((*x.shape[:-2], ny, x.shape[-1]))
    first = x.shape[-2] // 2 - ny // 2
    return out.index_add_(-2, (torch.arange(x.shape[-2]) - first) % ny, x)


def coil_images(n_coils, tall):
    """Coil images in the field of view `HR` of an object on a grid of `tall` rows."""
    shape = (tall, HR[1])
    image, _ = phantom(shape, (0.44, 0.40))
    return folded(unit_norm(coil_profiles(n_coils, shape)) * image, HR[0])


def scan(images, acceleration=1, snr_db=50.0, n_acs=20):
    """The central half of k-space, every n-th line and the ACS; the truth at full resolution."""
    kspace = fft2c(images)
    std = float(kspace.abs().square().mean().sqrt()) * 10 ** (-snr_db / 20)
    lr = (HR[0] // 2, HR[1] // 2)
    scale = grid_scale(lr, HR)
    low = scale * crop_or_pad(kspace + noise_like(kspace, std), lr)
    mask = torch.zeros(lr)
    mask[::acceleration] = 1
    mask[lr[0] // 2 - n_acs // 2 :][:n_acs] = 1
    slice_ = KSpaceSlice(low * mask, mask, cut_acs(low, mask), GEOMETRY, noise_std=scale * std)
    truth = sinc_interpolate(ifft2c(low), HR).abs().square().sum(0).sqrt()
    return slice_, truth


def close(a, b, atol):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def relative_error(image, truth):
    return float(torch.linalg.vector_norm(image - truth) / torch.linalg.vector_norm(truth))


def without_fold_over(monkeypatch):
    monkeypatch.setattr(fold_over, "may_be_folded", lambda *_: False)


@pytest.mark.parametrize("snr_db", [50, 20, 10])
@pytest.mark.parametrize("n_coils", [2, 4, 8, 16])
def test_an_object_within_the_field_of_view_is_left_alone(n_coils, snr_db, monkeypatch):
    slice_, _ = scan(coil_images(n_coils, HR[0]), 2, snr_db)
    recon = load_model("cg-sense+sinc")
    image = recon(slice_)
    assert image.report.folded == 0.0 and not image.report.warnings
    without_fold_over(monkeypatch)
    assert torch.equal(image.image, recon(slice_).image)


def shepp_logan(n):
    """Ellipses of a Shepp-Logan phantom that fills 92 % of the field of view along y."""
    y, x = ((torch.arange(n) - n // 2) * 2 / n for _ in range(2))
    y, x = torch.meshgrid(y, x, indexing="ij")
    ellipses = [(1, 0.69, 0.92, 0, 0), (-0.8, 0.66, 0.874, 0, -0.018), (0.3, 0.21, 0.25, 0, 0.35)]
    parts = [h * (((x - u) / a) ** 2 + ((y - v) / b) ** 2 < 1) for h, a, b, u, v in ellipses]
    return torch.stack(parts).sum(0)


def birdcage(n_coils, n):
    """Sensitivities of a birdcage as the ISMRMRD generator makes them."""
    y, x = torch.meshgrid(*[(torch.arange(n) - n / 2) * 2 / n] * 2, indexing="ij")
    profiles = []
    for c in range(n_coils):
        angle = 2 * torch.pi * torch.tensor(c / n_coils)
        dx, dy = x - 1.5 * angle.cos(), y - 1.5 * angle.sin()
        profiles.append(torch.polar(1 / torch.hypot(dx, dy), torch.atan2(dx, -dy) - angle))
    return torch.stack(profiles)


def measured(images, noise_std, seed=1):
    kspace = fft2c(images)
    kspace = kspace + noise_like(kspace, noise_std, seed)
    mask = line_mask(tuple(images.shape[-2:]), 2)
    acs = cut_acs(kspace, mask)
    return KSpaceSlice(kspace * mask, mask, acs, GEOMETRY, noise_std=noise_std)


def within(kind, n_coils):
    """Scans of objects within the field of view that have a second eigenvalue near 1."""
    if kind == "shepp-logan":
        return measured(birdcage(n_coils, 128) * shepp_logan(128), 0.05)
    shape = (128, 96)
    coils, (image, _) = coil_profiles(n_coils, shape), phantom(shape, (0.36, 0.3))
    if kind == "two slices in one":
        other = coil_profiles(n_coils, shape, seed=5) * phantom(shape, (0.3, 0.36))[0]
        return measured(coils * image + other, 0.02)
    noise = 0.5 * random_complex(1, *shape, seed=3)
    return measured(torch.cat((coils * image, noise)), 0.02)


@pytest.mark.parametrize("kind", ["shepp-logan", "two slices in one", "an element of noise"])
@pytest.mark.parametrize("n_coils", [2, 4, 8])
def test_a_second_eigenvalue_without_signal_at_the_edge_is_no_fold(kind, n_coils):
    slice_ = within(kind, n_coils)
    coils = calibrate_coils(slice_, CalibrationSettings())
    assert coils.folded is None


def test_such_scans_would_be_taken_for_folded_by_eigenvalues_alone(monkeypatch):
    monkeypatch.setattr(fold_over, "reaches_edge", lambda *_: True)
    kinds = ("shepp-logan", "two slices in one", "an element of noise")
    scans = (within(kind, n_coils) for kind in kinds for n_coils in (4, 8))
    found = [calibrate_coils(s, CalibrationSettings()).folded is not None for s in scans]
    assert sum(found) >= 3


@pytest.mark.parametrize("n_coils", [2, 4, 16])
@pytest.mark.parametrize("tall", [150, 168, 200, 240])
def test_a_fold_reaches_the_edge(n_coils, tall):
    slice_, _ = scan(coil_images(n_coils, tall), 2)
    assert fold_over.reaches_edge(slice_.acs, HR)


@pytest.mark.parametrize("acceleration", [2, 3])
@pytest.mark.parametrize("n_coils", [8, 16])
def test_a_folded_object_is_unfolded(n_coils, acceleration, monkeypatch):
    slice_, truth = scan(coil_images(n_coils, 168), acceleration)
    recon = load_model("cg-sense+sinc")
    image = recon(slice_)
    error = relative_error(image.magnitude, truth)
    assert error < 0.06
    assert 0.05 < image.report.folded < 0.6
    assert "exceeds the field of view" in image.report.warnings[0]
    assert image.report.kspace_residual < 2 * image.report.expected_residual + 0.02
    without_fold_over(monkeypatch)
    one_map = recon(slice_)
    assert relative_error(one_map.magnitude, truth) > 3 * error
    assert one_map.report.kspace_residual > 2 * image.report.kspace_residual


def test_what_is_left_is_explained_by_one_set_of_maps():
    slice_, _ = scan(coil_images(8, 168), snr_db=60)
    calibrated = calibrate(slice_, CalibrationSettings())
    low = calibrated.sense.at_low_resolution()

    def unexplained(kspace):
        rest = kspace - low(low.adjoint(kspace))
        return float(rest.abs().square().sum() / kspace.abs().square().sum())

    assert unexplained(slice_.kspace[None]) > 0.005
    assert unexplained(calibrated.kspace) < 0.0005


@pytest.mark.parametrize(("acquired", "g2"), [((8, 6), 1.0), ((4, 3), 1 / 4)])
def test_take_out_solves_the_regularised_pair_exactly(acquired, g2):
    """Against a dense solve of (A^H A + lambda g^2) x = A^H y."""
    shape, n_coils = (8, 6), 24
    maps = unit_norm(random_complex(2, n_coils, *shape, seed=1))
    mask = torch.ones(acquired)
    mask[1] = 0
    kspace = mask * random_complex(1, n_coils, *acquired, seed=2)
    sense = SenseOperator(maps[:1], mask)
    rest, image = take_out(kspace, sense, 0.7 * maps[1:])
    both = SenseOperator(torch.stack((maps[:1], 0.7 * maps[1:]), 1), mask, has_map_axis=True)
    units = torch.eye(2 * 48, dtype=torch.complex64).reshape(-1, 1, 2, *shape)
    dense = torch.stack([both(u).flatten() for u in units], 1).numpy().astype(np.complex128)
    normal = dense.conj().T @ dense + LAMBDA * g2 * np.eye(96)
    x = np.linalg.solve(normal, dense.conj().T @ kspace.flatten().numpy())
    second = torch.from_numpy(x.reshape(2, *shape)[1]).to(torch.complex64)
    # Well conditioned: after fifteen steps of conjugate gradients the rest is rounding.
    close(image[0], 0.7 * second, atol=1e-3 * float(second.abs().max()))
    seen = SenseOperator(0.7 * maps[1:], mask)(image / 0.7)
    close(rest, kspace - seen, atol=1e-5)


def test_put_back_adds_powers_and_keeps_the_phase():
    image, other = random_complex(1, 8, 6, seed=1), random_complex(1, 8, 6, seed=2)
    whole = put_back(image, other)
    close(whole.abs().square(), image.abs().square() + other.abs().square(), atol=1e-5)
    close(whole.angle(), image.angle(), atol=1e-5)
    close(put_back(image.abs(), other), whole.abs(), atol=1e-6)
    assert put_back(image, None) is image
    small = torch.zeros(1, 4, 3)
    close(put_back(small, other), other[:, ::2, 1::2].abs(), atol=0)


def test_slices_with_and_without_share_a_batch():
    settings = CalibrationSettings()
    slices = [scan(coil_images(8, tall), 2)[0] for tall in (168, HR[0])]
    recon = load_model("cg-sense+sinc")
    calibrated = [calibrate(s, settings) for s in slices]
    assert calibrated[0].folded is not None and calibrated[1].folded is None
    together = stack_slices(calibrated)
    assert together.folded.shape == (2, *HR) and not together.folded[1].any()
    for one, slice_ in zip(recon.slices.batch(slices, calibrated), slices, strict=True):
        close(one.image, recon(slice_).image, atol=1e-3 * float(one.magnitude.max()))


def test_the_fallback_image_is_whole():
    slice_, truth = scan(coil_images(8, 168), 2)
    image = fallback_image(load_model("zero-filled+sinc").slices, slice_, "asked for")
    assert image.report.model == "cg-sense+sinc"
    assert relative_error(image.magnitude, truth) < 0.06


@pytest.mark.parametrize("tall", [HR[0], 168])
def test_a_slab_that_is_folded_over(tall):
    slice_, truth = scan(coil_images(8, tall))
    planes = torch.stack([slice_.kspace, 0.5 * slice_.kspace])
    acs = torch.stack([slice_.acs, 0.5 * slice_.acs])
    volume = KSpaceVolume(planes, slice_.mask, acs, GEOMETRY, noise_std=slice_.noise_std)
    made = reconstruct_volume(load_model("cg-sense+sinc").slices, volume)
    assert (made.report.folded > 0) == (tall > HR[0])
    assert any("exceeds" in w for w in made.report.warnings) == (tall > HR[0])
    plane = made.magnitude.permute(2, 1, 0)[0]
    assert relative_error(plane, truth) < 0.06


def test_models_of_two_maps_see_the_scan_as_it_is():
    slice_, _ = scan(coil_images(8, 168))
    settings = dataclasses.replace(CalibrationSettings(), n_maps=2)
    calibrated = calibrate(slice_, settings)
    assert calibrated.folded is None
    close(calibrated.scale * calibrated.kspace[0], slice_.kspace, atol=1e-4)
