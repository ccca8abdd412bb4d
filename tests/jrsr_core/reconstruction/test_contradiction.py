"""Images that contradict their measurement: recalibrated, else refused; the fallback is whole."""

import dataclasses

import pytest
import torch

from jrsr_core.calibration import own_lines
from jrsr_core.data import KSpaceVolume
from jrsr_core.reconstruction.contradiction import Contradiction, Residual
from jrsr_core.reconstruction.fallback import fallback_image
from jrsr_core.reconstruction.load import load_model
from jrsr_core.reconstruction.quality import ResidualPower
from jrsr_core.reconstruction.report import ReportFigures
from jrsr_core.reconstruction.volume import reconstruct_volume

from .test_reconstructor import GEOMETRY, make_slice


def with_other_maps(slice_, *, own_lines_too=False):
    """The slice with calibration lines of coils in another order, and without lines of its own."""
    wrong = dataclasses.replace(slice_, acs=slice_.acs.flip(0).contiguous())
    if own_lines_too:
        return wrong
    mask = torch.zeros_like(slice_.mask)
    mask[1::2] = 1
    return dataclasses.replace(wrong, mask=mask, kspace=slice_.kspace * mask)


@pytest.fixture(scope="module")
def full():
    scan, slice_ = make_slice(acceleration=1.0)
    mask = torch.ones_like(slice_.mask)
    return scan, dataclasses.replace(slice_, kspace=scan.fully_sampled, mask=mask)


@pytest.mark.parametrize(
    ("residual", "expected", "is_one"),
    [
        (0.617, 0.002, True),  # A wrong centre of k-space.
        (0.60, 0.18, True),  # Maps of half of the object, 20 dB.
        (0.126, 0.0705, False),  # The largest of 321 test slices and all systems.
        (0.339, 0.335, False),  # Eight coils at 18 dB.
        (1.02, 0.93, False),  # Nothing but noise.
        (0.313, 0.225, False),  # Bicubic interpolation of a noisy scan.
        (float("nan"), 0.1, False),
        (0.995, 4.54, True),  # A noise level 70 times too high.
        (0.995, float("nan"), True),
        (0.06, 4.54, False),  # The same, of an image that reproduces the samples.
    ],
)
def test_the_rule(residual, expected, is_one):
    assert Residual(residual, expected).contradicts == is_one


@pytest.mark.parametrize("expected", [4.54, float("nan")])
def test_an_impossible_noise_level_is_named_as_the_reason(expected):
    words = f"noise explains {expected:.3f}, which cannot be: the noise level is wrong"
    assert words in str(Residual(0.995, expected))
    assert "cannot" not in str(Residual(0.995, 0.93))


@pytest.mark.parametrize("name", ["jrsr-dc", "jrsr", "cg-sense+sinc"])
def test_an_image_of_foreign_maps_is_refused_by_name_and_figures(full, name):
    with pytest.raises(Contradiction, match=r"residual 0\.\d{3}, noise explains 0\.\d{3}"):
        load_model(name)(with_other_maps(full[1]))
    image = load_model(name, accept_contradictions=True)(with_other_maps(full[1]))
    assert image.report.kspace_residual > 0.25


def test_zero_filled_images_are_delivered_as_they_are(full):
    assert load_model("zero-filled+sinc")(with_other_maps(full[1])).image.any()


def test_own_lines_come_before_the_refusal(full, monkeypatch):
    """Without the test of the maps beforehand, the contradiction itself leads to own lines."""
    recon = load_model("cg-sense+sinc")
    right = recon(full[1])
    monkeypatch.setattr(own_lines, "LIMIT", 2.0)
    image = recon(with_other_maps(full[1], own_lines_too=True))
    assert torch.allclose(image.image, right.image, atol=1e-4 * float(right.magnitude.max()))
    assert "contradicted the measurement" in image.report.warnings[0]


def test_the_fallback_shows_the_whole_object_and_says_that_maps_contradict(full):
    scan, slice_ = full
    recon = load_model("jrsr-dc")

    image = fallback_image(recon.slices, with_other_maps(slice_), "because")
    assert image.report.model == "zero-filled+sinc" and image.report.fallback == "because"
    assert "cg-sense+sinc: image contradicts the measurement" in image.report.warnings[0]

    good = fallback_image(recon.slices, slice_, "because")
    assert good.report.model == "cg-sense+sinc" and not good.report.warnings
    assert good.report.kspace_residual < 2 * good.report.expected_residual
    assert scan.truth.shape == good.magnitude.shape


def volume_of(slice_):
    planes = torch.stack([slice_.kspace, 0.5 * slice_.kspace])
    acs = torch.stack([slice_.acs, 0.5 * slice_.acs])
    return KSpaceVolume(planes, slice_.mask, acs, GEOMETRY, noise_std=slice_.noise_std)


def test_volumes_obey_the_same_rule(full, monkeypatch):
    recon = load_model("cg-sense+sinc")
    right = reconstruct_volume(recon.slices, volume_of(full[1]))
    with pytest.raises(Contradiction, match="contradicts the measurement"):
        reconstruct_volume(recon.slices, volume_of(with_other_maps(full[1])))
    monkeypatch.setattr(own_lines, "LIMIT", 2.0)
    image = reconstruct_volume(
        recon.slices, volume_of(with_other_maps(full[1], own_lines_too=True))
    )
    assert torch.allclose(image.image, right.image, atol=1e-4 * float(right.magnitude.max()))
    assert "contradicted the measurement" in image.report.warnings[0]


def volume_with_one_bad_plane(slice_, weight=1.0, n=20, bad=7):
    """Equal planes, the maps of one of which are wrong; none has calibration lines of its own."""
    right, wrong = slice_.acs, slice_.acs.flip(0)
    slice_ = with_other_maps(slice_)
    weights = torch.ones(n)
    weights[bad] = weight
    planes = torch.stack([w * slice_.kspace for w in weights])
    acs = torch.stack([w * (wrong if x == bad else right) for x, w in enumerate(weights)])
    return KSpaceVolume(planes, slice_.mask, acs, GEOMETRY, noise_std=slice_.noise_std)


def test_one_bad_plane_of_many_is_a_contradiction(full):
    volume = volume_with_one_bad_plane(full[1])
    with pytest.raises(Contradiction, match=r"residual 0\.\d* at readout position 7, noise"):
        reconstruct_volume(load_model("cg-sense+sinc").slices, volume)
    accepting = load_model("cg-sense+sinc", accept_contradictions=True)
    image = reconstruct_volume(accepting.slices, volume)
    report = image.report
    assert not Residual(report.kspace_residual, report.expected_residual).contradicts
    assert any("at readout position 7" in warning for warning in image.report.warnings)


def test_the_worst_position_is_that_of_the_largest_share():
    """Not that of the most power, and none of less than a tenth of the strongest signal."""
    figures = ReportFigures()
    power = [[100.0, 20.0, 5.0], [4.0, 3.0, 5.0], [1.0, 0.2, 0.05]]
    figures._power = [ResidualPower(*torch.tensor(power, dtype=torch.float64))]
    worst = figures.worst()
    assert worst.position == 1
    assert (worst.measured, worst.expected) == pytest.approx((0.15**0.5, 0.1))


def test_a_plane_of_little_signal_does_not_cost_the_volume(full):
    image = reconstruct_volume(
        load_model("cg-sense+sinc").slices, volume_with_one_bad_plane(full[1], 0.1)
    )
    assert not image.report.fallback


def test_the_fallback_of_a_volume_is_of_one_method(full):
    volume = volume_with_one_bad_plane(full[1])
    image = fallback_image(load_model("cg-sense+sinc").slices, volume, "because")
    assert image.report.model == "zero-filled+sinc" and image.report.fallback == "because"
    assert any("zero-filled coil images are combined" in w for w in image.report.warnings)
    scales = image.magnitude.square().sum((0, 1)).sqrt()
    assert torch.allclose(scales, scales[0], rtol=1e-3)


def test_the_fallback_of_a_good_volume_has_its_figures(full):
    slice_ = full[1]
    weights = torch.tensor([1.0, 0.5, 0.0])
    planes, acs = (torch.stack([w * x for w in weights]) for x in (slice_.kspace, slice_.acs))
    volume = KSpaceVolume(planes, slice_.mask, acs, GEOMETRY, noise_std=slice_.noise_std)
    report = fallback_image(load_model("cg-sense+sinc").slices, volume, "because").report
    assert report.model == "cg-sense+sinc" and report.n_readout == 3 and not report.warnings
    assert report.kspace_residual < 2 * report.expected_residual < 0.5
