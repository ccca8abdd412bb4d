"""All systems: published sizes, presets, learning, number of coils, times."""

import pytest
import torch

from jrsr_core.metrics.image import psnr
from jrsr_core.models.cg_sense import CgSense
from jrsr_core.models.fixed_point import FixedPointSettings
from jrsr_core.models.interfaces import JointModel, ReconModel, UpsampleModel
from jrsr_core.models.interpolation import BicubicUpsample
from jrsr_core.models.names import MODEL_NAMES, PARTS, PRESETS, RECONS
from jrsr_core.models.registry import build_model
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import sinc_interpolate
from tests.jrsr_core.models.test_models import awake, count_parameters, scan, seeking

TRAINED_PARTS = ("modl", "dl-espirit", "medsrgan", "bebygan")
TRAINED_JOINTS = ("jrsr", "jrsr-dc", "sr", "recon", "recon-sr", "recon+sr", "recon+sr-sft", "t2net")


def shapes(model):
    return {name: tuple(p.shape) for name, p in model.named_parameters()}


class TestPublishedSizes:
    """Parameter counts and layer shapes of the preset `paper`."""

    def test_modl(self):
        model = build_model("modl", preset="paper")
        convolutions = 2 * 64 * 9 + 3 * 64 * 64 * 9 + 64 * 2 * 9
        assert count_parameters(model) == convolutions + 2 * (4 * 64 + 2) + 1
        assert model.config.n_iterations == 10 and model.config.n_cg == 10
        assert float(model.log_lambda.exp().detach()) == pytest.approx(0.05)
        convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
        assert len(convolutions) == 5 and all(m.bias is None for m in convolutions)

    def test_dl_espirit(self):
        model = build_model("dl-espirit", preset="paper")
        assert len(model.prox) == 5 and len(model.prox[0].blocks) == 2
        first = shapes(model)["prox.0.blocks.0.first.weight"]
        assert first == (128, 4, 3, 3), "two map sets, real and imaginary part"
        assert shapes(model)["prox.0.blocks.0.shortcut.weight"] == (128, 4, 1, 1)
        assert shapes(model)["prox.4.conv_out.weight"] == (4, 128, 3, 3)
        assert count_parameters(model) == 5 * (4736 + 640 + 3 * 147_584 + 4612 + 1)

    def test_medsrgan(self):
        model = build_model("medsrgan", preset="paper")
        assert [len(group) for group in model.groups] == [16] * 8
        assert count_parameters(model.groups) == 128 * 78_016 == 9_986_048
        assert shapes(model)["conv_up.weight"] == (256, 64, 3, 3)
        assert count_parameters(model) == 640 + 9_986_048 + 147_712 + 577

    def test_bebygan(self):
        model = build_model("bebygan", preset="paper")
        assert count_parameters(model.trunk) == 23 * 719_424
        assert count_parameters(model) == 640 + 23 * 719_424 + 3 * 36_928 + 577

    def test_t2net(self):
        model = build_model("t2net", preset="paper")
        stage = 4 * 36_928 + 128 * 64 + 64
        heads = 2 * (25 * 64 + 64)
        assert len(model.stages) == 8
        assert shapes(model)["head_sr.weight"] == (64, 1, 5, 5)
        assert shapes(model)["tail_rec.weight"] == (1, 64, 1, 1)
        assert count_parameters(model) == heads + 8 * stage + 147_712 + 577 + 65

    def test_ablations_are_parts_of_the_proposed(self):
        proposed = build_model("jrsr", preset="paper")
        n_sft = 23 * 16_640 + 3 * 3 * 2 * 64 + 64  # and the convolution of the condition
        n_rec, n_sr = count_parameters(proposed.rec), count_parameters(proposed.sr) - n_sft
        for name, n in (("sr", n_sr), ("recon", n_rec), ("recon+sr", n_rec + n_sr)):
            assert count_parameters(build_model(name, preset="paper")) == n, name
        assert n_sr + n_rec == count_parameters(build_model("recon-sr", preset="paper"))
        conditioned = build_model("recon+sr-sft", preset="paper")
        assert shapes(conditioned) == shapes(proposed)


def test_the_names_of_the_paper_are_all_there():
    combinations = [
        f"{recon}+{sr}"
        for recon in ("cg-sense", "modl", "dl-espirit")
        for sr in ("bicubic", "medsrgan", "bebygan")
    ]
    assert {*TRAINED_JOINTS, *combinations} <= set(MODEL_NAMES)


@pytest.mark.parametrize("preset", PRESETS)
def test_parts_build_alone_in_every_preset(preset):
    for name in PARTS:
        kind = ReconModel if name in RECONS else UpsampleModel
        assert isinstance(build_model(name, preset=preset), kind), name


class TestOverfitting:
    """Every trainable system learns one slice, far beyond where it started."""

    @pytest.mark.parametrize("name", [*TRAINED_JOINTS, *TRAINED_PARTS])
    def test_gains_five_decibels_over_start_and_zero_filled(self, name):
        kspace, sense, noise, simulated, scale = scan((24, 32), acceleration=2.6, n_acs=4)
        low = sense.at_low_resolution()
        hr_truth = simulated.truth[None] / scale
        lr_truth = low.coils.adjoint(ifft2c(simulated.fully_sampled[None] / scale))
        zero_filled = low.adjoint(kspace)
        few = FixedPointSettings("anderson", n_iter=5, tolerance=1e-3)
        model = seeking(build_model(name, preset="tiny"), few).train()
        truth = lr_truth if isinstance(model, ReconModel) else hr_truth
        bar = float(psnr(sinc_interpolate(zero_filled, truth.shape[-2:]).abs(), truth.abs()))
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        warm = {"x0": None}
        for step in range(700):
            loss = 0.0
            if isinstance(model, ReconModel):
                image = model(kspace, low)
            elif isinstance(model, UpsampleModel):
                image = model(zero_filled)
            else:
                output = model(kspace, sense, noise, **(warm if model.takes_start else {}))
                image = output.image
                warm["x0"] = model.fixed_points(output).detach()
                if output.residual is not None and name != "recon":
                    loss = (output.low_resolution - lr_truth).abs().square().mean()
            score = float(psnr(image.detach().abs(), truth.abs()))
            bar = max(bar, score) if step == 0 else bar
            if score > bar + 5:
                return
            loss = loss + (image.abs() - truth.abs()).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        pytest.fail(f"{name} reached {score:.1f} dB, {bar + 5:.1f} was asked for")


@pytest.mark.parametrize("name", ["jrsr", "recon", "t2net", "modl+bebygan", "dl-espirit+medsrgan"])
@pytest.mark.parametrize("n_coils", [1, 3, 9])
def test_any_number_of_coils(name, n_coils):
    kspace, sense, noise, *_ = scan((30, 44), n_coils=n_coils, n_acs=6)
    with torch.no_grad():
        output = awake(build_model(name, preset="tiny")).eval()(kspace, sense, noise)
    assert output.image.shape == (1, 30, 44)
    assert torch.isfinite(output.image.abs()).all()


def test_systems_report_the_time_of_their_parts():
    kspace, sense, noise, *_ = scan()
    for name in MODEL_NAMES:
        with torch.no_grad():
            output = build_model(name, preset="tiny").eval()(kspace, sense, noise)
        assert isinstance(build_model(name, preset="tiny"), JointModel)
        assert "rec" in output.seconds, name
        assert all(s >= 0 for s in output.seconds.values())


def test_cg_sense_starts_the_sequence():
    kspace, sense, noise, *_ = scan()
    output = build_model("cg-sense+bicubic")(kspace, sense, noise)
    expected = CgSense()(kspace, sense.at_low_resolution())
    assert torch.equal(output.low_resolution, expected)
    assert torch.equal(output.image, BicubicUpsample()(expected))
