"""The compared systems: published sizes, exactness of the shortcuts, learning, odd cases."""

import math

import pytest
import torch
from torch.nn import functional

from jrsr_core.calibration.acs import cut_acs
from jrsr_core.data import KSpaceSlice, SliceGeometry
from jrsr_core.metrics.image import psnr
from jrsr_core.models.bebygan import BebyGan, BebyGanConfig
from jrsr_core.models.cg_sense import CgSense
from jrsr_core.models.dl_espirit import DlEspirit, DlEspiritConfig
from jrsr_core.models.fixed_point import FixedPointSettings
from jrsr_core.models.interfaces import JointModel, ReconModel, UpsampleModel
from jrsr_core.models.interpolation import BicubicUpsample
from jrsr_core.models.layers import standardise
from jrsr_core.models.medsrgan import MedSrgan, MedSrganConfig, WholeMapAttentionBlock
from jrsr_core.models.modl import Modl, ModlConfig
from jrsr_core.models.names import MODEL_NAMES, PARTS, PRESETS, RECONS
from jrsr_core.models.registry import build_model
from jrsr_core.models.task_transformer import TaskTransformer, most_similar
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import sinc_interpolate
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.physics.solvers import conjugate_gradient
from jrsr_core.reconstruction.fallback import fallback_image
from jrsr_core.reconstruction.reconstructor import Reconstructor
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import simulate_protocol
from jrsr_core.tensors import to_channels
from tests.jrsr_core.models.test_models import FEW, awake, count_parameters, scan

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
        model = build_model(name, preset="tiny").train()
        truth = lr_truth if isinstance(model, ReconModel) else hr_truth
        bar = float(psnr(sinc_interpolate(zero_filled, truth.shape[-2:]).abs(), truth.abs()))
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        warm = {"x0": None, "settings": FixedPointSettings("anderson", n_iter=5, tolerance=1e-3)}
        for step in range(700):
            loss = 0.0
            if isinstance(model, ReconModel):
                image = model(kspace, low)
            elif isinstance(model, UpsampleModel):
                image = model(zero_filled)
            else:
                options = warm if getattr(model, "rec", None) is not None else {}
                output = model(kspace, sense, noise, **options)
                image = output.image
                warm["x0"] = (image if name == "recon" else output.low_resolution).detach()
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


class TestModl:
    """Alternation of denoiser and data term."""

    def test_untrained_it_is_proximal_iteration_towards_least_squares(self):
        kspace, sense, *_ = scan()
        low = sense.at_low_resolution()
        image = Modl(ModlConfig(8, 3, 1, 60))(kspace, low)
        zero_filled = low.adjoint(kspace)
        left = low.gram(image) + 0.05 * image
        assert torch.allclose(left, zero_filled + 0.05 * zero_filled, atol=1e-4)

    def test_implicit_gradient_equals_the_unrolled_one(self):
        kspace, sense, *_ = scan((24, 32), n_acs=4, acceleration=2.0)
        low = sense.at_low_resolution()
        model = awake(Modl(ModlConfig(6, 3, 3, 80)))
        model.log_lambda.data.fill_(math.log(0.3))
        weight = torch.randn(1, 12, 16, dtype=torch.complex64)

        def gradients(image):
            model.zero_grad()
            (weight.conj() * image).real.sum().backward()
            return {name: p.grad.clone() for name, p in model.named_parameters()}

        implicit = gradients(model(kspace, low))
        zero_filled, x = low.adjoint(kspace), low.adjoint(kspace)
        for _ in range(3):
            mu = model.log_lambda.exp()
            rhs = zero_filled + mu * model.denoiser(x)
            x, _ = conjugate_gradient(
                lambda v, mu=mu: low.gram(v) + mu * v, rhs, n_iter=80, tolerance=1e-7
            )
        unrolled = gradients(x)
        for name, gradient in unrolled.items():
            error = torch.linalg.vector_norm(implicit[name] - gradient)
            assert float(error) < 2e-3 * float(torch.linalg.vector_norm(gradient)) + 1e-6, name

    def test_weights_are_shared_by_the_iterations(self):
        counts = {count_parameters(Modl(ModlConfig(8, 3, k, 4))) for k in (1, 10)}
        assert len(counts) == 1

    def test_a_batch_gives_what_its_samples_give_while_training_too(self):
        a, b = scan(seed=1), scan(seed=2)
        model = awake(Modl(ModlConfig(8, 3, 2, 30))).train()
        low = [s[1].at_low_resolution() for s in (a, b)]
        both = SenseOperator(torch.cat([s.csm for s in low]), low[0].mask)
        with torch.no_grad():
            batch = model(torch.cat((a[0], b[0])), both)
            assert torch.allclose(batch[:1], model(a[0], low[0]), atol=1e-4)


class TestMapSets:
    """Operators of one and of several map sets, and the model that wants two."""

    def two_maps(self):
        kspace, sense, *_ = scan()
        csm = torch.stack((0.8 * sense.csm, 0.3 * sense.csm.roll(5, -1)), 1)
        return kspace, sense, SenseOperator(csm, sense.mask, has_map_axis=True)

    def test_single_map_is_the_first_on_unit_norm(self):
        _, sense, soft = self.two_maps()
        assert torch.allclose(soft.single_map().csm, sense.csm, atol=1e-6)
        assert sense.single_map() is sense

    def test_first_image_is_what_the_single_map_sees(self):
        _, _, soft = self.two_maps()
        x = torch.randn(1, 2, *soft.image_shape, dtype=torch.complex64)
        x[:, 1] = 0
        assert torch.allclose(soft(x), soft.single_map()(soft.first_image(x)), atol=1e-5)

    def test_missing_sets_count_as_zero(self):
        _, sense, soft = self.two_maps()
        padded = sense.with_maps(2)
        assert padded.csm.shape == soft.csm.shape
        x = torch.randn(1, 2, *sense.image_shape, dtype=torch.complex64)
        assert torch.allclose(padded(x), sense(x[:, 0]), atol=1e-6)
        assert soft.with_maps(2).csm.shape == soft.csm.shape
        with pytest.raises(ValueError, match="sense has 2 map sets, 1 are asked for"):
            soft.with_maps(1)

    def test_untrained_dl_espirit_is_gradient_descent(self):
        kspace, sense, *_ = scan()
        low = sense.at_low_resolution()
        image = DlEspirit(DlEspiritConfig(8, 1, 5))(kspace, low)
        x = zero_filled = low.adjoint(kspace)
        for _ in range(5):
            x = x - (low.gram(x) - zero_filled)
        assert torch.allclose(image, x * low.support(), atol=1e-5)

    def test_dl_espirit_uses_both_map_sets(self):
        kspace, _, soft = self.two_maps()
        low = soft.at_low_resolution()
        model = awake(DlEspirit(DlEspiritConfig(8, 1, 2)))
        first = SenseOperator(low.csm[:, 0], low.mask)
        with torch.no_grad():
            assert not torch.allclose(model(kspace, low), model(kspace, first), atol=1e-3)

    @pytest.mark.parametrize("n_coils", [1, 2, 6])
    def test_through_calibration_with_any_number_of_coils(self, n_coils):
        simulated = simulate_protocol(
            "brain-5x", brain_phantom((72, 88)), n_coils=n_coils, n_acs=16, acceleration=1.5
        )
        slice_ = KSpaceSlice(
            simulated.kspace,
            simulated.mask,
            cut_acs(simulated.kspace, simulated.mask),
            SliceGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5, 200, 200)),
            noise_std=simulated.noise_std,
        )
        recon = Reconstructor(build_model("dl-espirit+sinc", preset="tiny"), name="dl-espirit+sinc")
        calibrated = recon.calibrated(slice_)
        assert calibrated.sense.coils.has_map_axis == (n_coils > 1)
        plain = Reconstructor(build_model("cg-sense+sinc"), name="cg-sense+sinc")
        assert calibrated.scale == pytest.approx(plain.calibrated(slice_).scale, rel=1e-4)
        image = recon(slice_)
        assert float(psnr(image.magnitude, simulated.truth)) > 20
        assert 0 < image.report.kspace_residual < 0.5
        assert float(psnr(fallback_image(recon, slice_, "because").magnitude, simulated.truth)) > 20


class TestTaskTransformer:
    """The low-memory form against the dense one."""

    @staticmethod
    def dense(module, x, reconstruction):
        """The textbook form, with the similarity of all pairs in the graph."""
        shape = x.shape[-2:]
        values = functional.unfold(reconstruction, 3, padding=1)
        query = functional.normalize(functional.unfold(x, 3, padding=1), dim=1)
        similarity = functional.normalize(values, dim=1).mT @ query
        score, index = similarity.max(1)
        chosen = torch.stack([v[:, i] for v, i in zip(values, index, strict=True)])
        texture = functional.fold(chosen, shape, 3, padding=1) / 9
        merged = module.merge(torch.cat((x, texture), 1))
        return x + score.reshape(-1, 1, *shape) * merged

    def test_equals_the_dense_form_with_its_gradients(self):
        module = TaskTransformer(5)
        inputs = [torch.randn(2, 5, 7, 9, requires_grad=True) for _ in range(2)]
        results = []
        for form in (module, lambda *v: self.dense(module, *v)):
            out = form(*inputs)
            results.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
        for ours, theirs in zip(*results, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("chunk", [1, 2000, 10**6])
    def test_rows_at_a_time_find_the_most_similar_patch(self, chunk):
        x, y = torch.randn(2, 3, 5, 7), torch.randn(2, 3, 5, 7)
        query, key = (
            functional.normalize(functional.unfold(v, 3, padding=1), dim=1) for v in (x, y)
        )
        assert torch.equal(most_similar(x, y, chunk), (key.mT @ query).argmax(1))

    def test_half_precision_does_not_choose_other_patches(self):
        x, y = torch.randn(1, 3, 20, 20), torch.randn(1, 3, 20, 20)
        expected = most_similar(x, y)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(most_similar(x, y), expected)

    def test_the_reconstruction_branch_hears_nothing_from_the_other(self):
        kspace, sense, *_ = scan()
        model = build_model("t2net", preset="tiny")
        before = model(kspace, sense).low_resolution
        with torch.no_grad():
            model.head_sr.weight.mul_(2)
        after = model(kspace, sense)
        assert torch.equal(after.low_resolution, before)


class TestAblations:
    """What is connected to what."""

    def image_gradient_of_rec(self, name):
        kspace, sense, noise, *_ = scan()
        model = awake(build_model(name, preset="tiny"))
        model(kspace, sense, noise, settings=FEW).image.abs().sum().backward()
        return [p.grad for p in model.rec.parameters()]

    def test_only_end_to_end_training_tells_rec_of_the_image(self):
        assert all(g is None for g in self.image_gradient_of_rec("recon-sr"))
        for name in ("recon+sr", "recon+sr-sft"):
            assert all(g is not None for g in self.image_gradient_of_rec(name))

    def test_recon_untrained_is_the_tikhonov_solution_on_the_hr_grid(self):
        # (g^-2 A^H A + l (1 - c)/(1 + c l)) x = g^-2 A^H b, l = (1 - a)/a with a = 0.9, c = 0.9:
        # unmeasured k-space stays empty.
        kspace, sense, *_ = scan()
        settings = FixedPointSettings(n_iter=100, tolerance=1e-5)
        with torch.no_grad():
            output = build_model("recon", preset="tiny").eval()(kspace, sense, settings=settings)
        scale, weight = sense.scale**2, (0.1 / 9) / (1 + 0.9 / 9)
        expected, _ = conjugate_gradient(
            lambda x: sense.gram(x) / scale + weight * x, sense.adjoint(kspace) / scale, n_iter=300
        )
        assert torch.allclose(output.image, sense.support() * expected, atol=5e-3)
        low = sinc_interpolate(output.image, sense.kspace_shape)
        assert torch.allclose(output.low_resolution, low)

    def test_recon_starts_from_either_grid(self):
        kspace, sense, *_ = scan()
        model = build_model("recon", preset="tiny").eval()
        model.rec.evaluation = FixedPointSettings(n_iter=100, tolerance=3e-4)
        with torch.no_grad():
            done = model(kspace, sense)
            again = model(kspace, sense, x0=done.image)
            low = model(kspace, sense, x0=done.low_resolution)
        assert again.iterations <= 2 < low.iterations + 2
        assert torch.allclose(low.image, done.image, atol=5e-3)

    def test_sr_sees_the_zero_filled_image_and_the_series_x_rec(self):
        kspace, sense, noise, *_ = scan()
        zero_filled = sense.at_low_resolution().adjoint(kspace)
        alone = build_model("sr", preset="tiny")(kspace, sense, noise)
        assert torch.equal(alone.low_resolution, zero_filled)
        model = awake(build_model("recon+sr", preset="tiny")).eval()
        with torch.no_grad():
            output = model(kspace, sense, noise)
            expected = model.sr(output.low_resolution.abs()[:, None])[:, 0]
        assert torch.allclose(output.image, expected, atol=1e-6)

    def test_with_sft_the_series_differs_from_the_proposed_in_its_input_alone(self):
        kspace, sense, noise, *_ = scan()
        proposed = awake(build_model("jrsr", preset="tiny")).eval()
        series = build_model("recon+sr-sft", preset="tiny").eval()
        series.load_state_dict(proposed.state_dict())
        with torch.no_grad():
            image, x_rec = (o := proposed(kspace, sense, noise)).image, o.low_resolution
            ours = series(kspace, sense, noise)
            expected = proposed.sr(x_rec.abs()[:, None], to_channels(x_rec))[:, 0]
        assert torch.equal(ours.low_resolution, x_rec)
        assert torch.allclose(ours.image, expected, atol=1e-6)
        assert not torch.allclose(ours.image, image, atol=1e-2)


class TestConsistencySwitch:
    """+dc behind any system."""

    @pytest.mark.parametrize("name", ["t2net", "jrsr", "recon", "cg-sense+bicubic", "modl+bebygan"])
    def test_brings_the_image_to_the_measurement(self, name):
        kspace, sense, noise, *_ = scan()
        model = build_model(f"{name}+dc", preset="tiny").eval()
        with torch.no_grad():
            raw, image = model.model(kspace, sense, noise), model(kspace, sense, noise)
        assert image.image.is_complex() and "consistency" in image.seconds

        def misfit(x):
            return float(torch.linalg.vector_norm(sense(x.to(torch.complex64)) - kspace))

        # `recon` has solved the same data term already, its noise is left.
        assert misfit(image.image) < (1.0 if name == "recon" else 0.7) * misfit(raw.image)

    def test_is_refused_where_it_makes_no_sense(self):
        kspace, sense, *_ = scan()
        with pytest.raises(ValueError, match="jrsr-dc has HR data consistency already"):
            build_model("jrsr-dc+dc")
        with pytest.raises(ValueError, match="bicubic is a part"):
            build_model("bicubic+dc")
        with pytest.raises(ValueError, match=r"\+dc needs noise_std"):
            build_model("sr+dc", preset="tiny")(kspace, sense)


class TestUpsampling:
    """Magnitude in, magnitude out, on the grid of the physics."""

    def test_bicubic_equals_a_direct_sum(self):
        image = 1 + torch.rand(1, 9, 8)
        ours = BicubicUpsample()(image)[0]

        def keys(t, a=-0.5):
            t = abs(t)
            if t < 1:
                return (a + 2) * t**3 - (a + 3) * t**2 + 1
            return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0

        for y in range(4, 14):
            for x in range(4, 12):
                # Both grids have their origin at n//2.
                v, u = (y - 9) / 2 + 4, (x - 8) / 2 + 4
                total = sum(
                    keys(v - j) * keys(u - i) * float(image[0, j, i])
                    for j in range(9)
                    for i in range(8)
                )
                assert float(ours[y, x]) == pytest.approx(total, abs=1e-5)

    def test_naive_bicubic_is_a_part_of_its_own(self):
        image = torch.rand(1, 8, 8)
        aligned, naive = (build_model(n)(image) for n in ("bicubic", "bicubic-naive"))
        assert not torch.allclose(aligned, naive, atol=1e-2)

    @pytest.mark.parametrize("name", ["medsrgan", "bebygan"])
    def test_networks_take_the_magnitude(self, name):
        model = build_model(name, preset="tiny")
        image = torch.randn(2, 9, 8, dtype=torch.complex64)
        assert torch.equal(model(image), model(image.abs()))
        assert model(image).shape == (2, 18, 16) and not model(image).is_complex()

    def test_medsrgan_does_not_depend_on_the_scale(self):
        model, image = build_model("medsrgan", preset="tiny"), torch.rand(1, 8, 8)
        assert torch.allclose(model(100 * image + 7), 100 * model(image) + 7, atol=1e-2)

    def test_attention_block_by_hand(self):
        block, x = WholeMapAttentionBlock(4), torch.randn(1, 4, 6, 6)
        f = block.second(block.first(x).clamp_min(0))
        expected = x + f / (1 + torch.exp(-block.attention(f)))
        assert torch.allclose(block(x), expected, atol=1e-6)

    def test_skips_of_medsrgan_let_the_input_through(self):
        model = MedSrgan(MedSrganConfig(4, 3, 2))
        for parameter in model.groups.parameters():
            parameter.data.zero_()
        x = torch.rand(1, 8, 8)
        f0 = model.conv_in(standardise(x[:, None])[0])
        _, mean, std = standardise(x[:, None])
        # Three short skips double f_0, the long one adds it once more.
        up = functional.pixel_shuffle(model.conv_up((2**3 + 1) * f0), 2)
        assert torch.allclose(model(x), (mean + std * model.conv_out(up))[:, 0], atol=1e-5)

    def test_bebygan_keeps_the_library_initialisation(self):
        torch.manual_seed(0)
        model = BebyGan(BebyGanConfig(64, 32, 1))
        weight = model.trunk[0].dense[0].fuse.weight.detach()
        # Uniform within 1/sqrt(fan-in); ESRGAN's would be ten times narrower.
        assert float(weight.abs().max()) == pytest.approx(1 / (9 * 192) ** 0.5, rel=0.02)


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
