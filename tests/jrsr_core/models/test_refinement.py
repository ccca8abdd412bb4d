"""Laws of the second pass of `jrsr-dc`."""

from dataclasses import replace

import pytest
import torch

from jrsr_core.models.complex_sr import super_resolve
from jrsr_core.models.consistency import denoising
from jrsr_core.models.layers import to_lr_channels
from jrsr_core.models.measurement import Measurement
from jrsr_core.models.registry import build_model
from jrsr_core.models.sr import upsample_nearest
from jrsr_core.models.variants import variant_of
from jrsr_core.physics.resolution import sinc_interpolate
from training.runs.networks.growth import grow

from .test_models import awake, scan


@pytest.fixture(scope="module")
def pair():
    """A network with one pass, and the same with a second one that begins as its copy."""
    torch.manual_seed(0)
    single = awake(build_model("jrsr-dc", preset="tiny")).eval()
    refined = build_model("jrsr-dc", preset="tiny", refinement=True)
    grow(refined, single)
    single.rec.evaluation = refined.rec.evaluation
    return single, refined.eval()


@pytest.fixture(scope="module")
def measured():
    kspace, sense, noise, *_ = scan()
    return kspace, sense, noise


@pytest.mark.parametrize("lr_shape", [(6, 8), (7, 9), (6, 9)])
def test_channels_of_an_lr_pixel_are_its_four_hr_pixels(lr_shape):
    lr = torch.randn(2, 3, *lr_shape)
    channels = to_lr_channels(upsample_nearest(lr, lr_shape), lr_shape)
    assert torch.equal(channels, lr.repeat_interleave(4, 1))


def test_an_untrained_second_pass_is_one_more_step_of_the_first(pair, measured):
    single, refined = pair
    m = Measurement.of(*measured)
    with torch.no_grad():
        first = single(*measured).image
        x_1 = sinc_interpolate(first, m.lr_shape)
        x_2 = single.rec.step(x_1, m.zero_filled, m.lr_sense, m.conditions)
        x_sr = super_resolve(single.sr, x_2, m)
        expected = single.consistency(x_sr, m.adjoint, m.sense, m.noise_std)
        output = refined(*measured)
    scale = float(expected.abs().max())
    torch.testing.assert_close(output.image, expected, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(output.low_resolution, x_2, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(output.prior, x_sr, rtol=0, atol=1e-5 * scale)
    assert float((output.image - first).norm() / first.norm()) > 1e-3


def test_the_first_pass_keeps_its_image_and_its_noise(pair, measured):
    single, refined = pair
    with torch.no_grad():
        expected = single(*measured)
        with denoising(1.0):
            output = refined(*measured)
    assert torch.equal(output.first, expected.image)
    assert (output.iterations, output.denoise) == (expected.iterations, 1.0)
    assert torch.equal(output.residual, expected.residual)


def test_denoising_is_that_of_the_second_pass(pair, measured):
    _, refined = pair
    with torch.no_grad():
        noisy = refined(*measured)
        with denoising(1.0):
            output = refined(*measured)
            m = Measurement.of(*measured)
            step = refined.refinement.consistency
            expected = step(noisy.prior, m.adjoint, m.sense, m.noise_std)
    assert torch.equal(output.prior, noisy.prior)
    assert torch.equal(output.image, expected)
    assert not torch.allclose(output.image, noisy.image, rtol=1e-3)


def test_a_second_pass_starts_from_a_kept_image(pair, measured):
    _, refined = pair
    with torch.no_grad():
        whole = refined(*measured)
        kept = refined.fixed_points(whole)
        again = refined(*measured, x0=kept)
    assert torch.equal(kept, whole.first)
    assert torch.equal(again.image, whole.image)
    assert again.residual is None


def test_detail_of_the_first_pass_reaches_the_networks_of_the_second(pair, measured):
    _, refined = pair
    m = Measurement.of(*measured)
    sr = refined.refinement.sr
    with torch.no_grad():
        image = refined(*measured).first
        x = sinc_interpolate(image, m.lr_shape)
        detail = image - sinc_interpolate(x, m.hr_shape)
        without = super_resolve(sr, x, m, torch.zeros_like(detail))
        before = super_resolve(sr, x, m, detail)
        sr.conv_in.weight[:, -8:] += 0.5
        after = super_resolve(sr, x, m, detail)
        turn = torch.polar(torch.tensor(1.0), torch.tensor(0.7))
        turned = replace(m, zero_filled=turn * m.zero_filled)
        turned = super_resolve(sr, turn * x, turned, turn * detail)
        sr.conv_in.weight[:, -8:] -= 0.5
    assert torch.equal(before, without)
    assert float((after - before).norm() / before.norm()) > 1e-4
    torch.testing.assert_close(turned, turn * after, rtol=0, atol=1e-4 * float(after.abs().max()))


@pytest.mark.parametrize(("asked", "first", "second"), [(0, 1, 1), (3, 1, 3)])
def test_sr_of_the_second_pass_has_the_blocks_asked_for(asked, first, second):
    model = build_model("jrsr-dc", preset="tiny", refinement=True, refinement_blocks=asked)
    assert (len(model.sr.trunk), len(model.refinement.sr.trunk)) == (first, second)
    assert variant_of(model).refinement_blocks == asked


def test_training_changes_the_second_pass_alone(measured):
    model = awake(build_model("jrsr-dc", preset="tiny", refinement=True)).train()
    assert [model.rec.training, model.sr.training, model.consistency.training] == [False] * 3
    assert model.refinement.training
    model(*measured).image.abs().square().sum().backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    assert reached == {
        name for name, _ in model.named_parameters() if name.startswith("refinement")
    }
    assert model.parts() == (model.refinement.rec, model.refinement.sr)


def test_only_jrsr_dc_has_a_second_pass():
    with pytest.raises(ValueError, match=r"^refinement is for jrsr-dc, not for jrsr$"):
        build_model("jrsr", refinement=True)
    with pytest.raises(ValueError, match=r"^refinement is for jrsr-dc, not for modl\+bicubic$"):
        build_model("modl+bicubic", refinement=True)
    with pytest.raises(ValueError, match=r"^refinement_blocks is 3, but refinement is false$"):
        build_model("jrsr-dc", refinement_blocks=3)
