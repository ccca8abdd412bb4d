"""Laws of the models: shapes, gradients, determinism, published sizes, odd matrices."""

import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import torch

from jrsr_core.models.cg_sense import CgSense
from jrsr_core.models.complex_sr import super_resolve
from jrsr_core.models.consistency import CAUTION, DataConsistency
from jrsr_core.models.fixed_point import FixedPointSettings
from jrsr_core.models.interpolation import BicubicUpsample, bicubic_matrix
from jrsr_core.models.layers import RRDB, ResidualDenseBlock
from jrsr_core.models.measurement import Measurement
from jrsr_core.models.names import MODEL_NAMES, PRESETS, TRAINABLE
from jrsr_core.models.phase import smooth_phase
from jrsr_core.models.rec import (
    ALIASED,
    QUIETEST,
    RecConfig,
    RecModule,
    aliasing,
    condition_maps,
)
from jrsr_core.models.registry import build_model
from jrsr_core.models.sr import upsample_nearest
from jrsr_core.physics.resolution import sinc_interpolate
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.simulation.masks import make_mask
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import simulate_protocol

FEW = FixedPointSettings("picard", n_iter=3)


def seeking(model, settings):
    """Return the model; a fixed point in it is sought as the settings say."""
    for module in model.modules():
        if isinstance(module, RecModule):
            module.evaluation = module.training_settings = settings
    return model


def scan(hr_shape=(48, 64), **changes):
    """A small scan, scaled, with true maps."""
    changes = {"n_coils": 4, "n_acs": 10, "acceleration": 2.0, "mask": "gaussian"} | changes
    simulated = simulate_protocol("brain-5x", brain_phantom(hr_shape), **changes)
    sense = SenseOperator(simulated.csm[None], simulated.mask)
    kspace = simulated.kspace[None]
    scale = sense.at_low_resolution().adjoint(kspace).abs().max()
    return kspace / scale, sense, torch.tensor([simulated.noise_std]) / scale, simulated, scale


def count_parameters(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def awake(model):
    """Give every zero-initialised layer small weights, so that it takes part."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if bool((parameter == 0).all()):
            parameter.data = 0.02 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("lr_shape", [(24, 32), (27, 31)])
def test_shapes_on_even_and_odd_matrices(name, lr_shape):
    kspace, sense, noise, *_ = scan((2 * lr_shape[0], 2 * lr_shape[1]))
    with torch.no_grad():
        output = awake(build_model(name, preset="tiny")).eval()(kspace, sense, noise)
    assert output.image.shape == (1, *sense.image_shape)
    assert output.low_resolution.shape == (1, *lr_shape)
    assert torch.isfinite(output.image.abs()).all()


@pytest.mark.parametrize("name", [*MODEL_NAMES, "jrsr+dc", "modl", "dl-espirit"])
def test_k_space_without_one_batch_axis_is_refused(name):
    kspace, sense, noise, *_ = scan()
    model = build_model(name, preset="tiny").eval()
    for wrong in (kspace[0], kspace[None]):
        text = f"kspace is {tuple(wrong.shape)}, expected (batch, coil, ky, kx): kspace[None] is a "
        with pytest.raises(ValueError, match=f"^{re.escape(text)}batch of one$"):
            model(wrong, sense, noise)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float64])
def test_a_mask_of_any_kind_gives_the_same_image(kind):
    kspace, sense, noise, *_ = scan()
    model = awake(build_model("jrsr-dc", preset="tiny")).eval()
    other = SenseOperator(sense.csm, sense.mask.numpy().astype(kind))
    with torch.no_grad():
        expected, image = (model(kspace, s, noise).image for s in (sense, other))
    assert torch.equal(image, expected)


@pytest.mark.parametrize("name", TRAINABLE)
def test_gradient_reaches_every_parameter(name):
    kspace, sense, noise, *_ = scan()
    model = seeking(awake(build_model(name, preset="tiny")), FEW).train()
    output = model(kspace, sense, noise)
    (output.image.abs().sum() + output.low_resolution.abs().sum()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert float(parameter.grad.abs().sum()) > 0, key


@pytest.mark.parametrize("name", TRAINABLE)
def test_deterministic_in_evaluation(name):
    kspace, sense, noise, *_ = scan()
    model = awake(build_model(name, preset="tiny")).eval()
    with torch.no_grad():
        first, second = (model(kspace, sense, noise).image for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_batch_gives_what_its_samples_give(name):
    a, b = scan(seed=1), scan(seed=2)
    settings = FixedPointSettings("anderson", n_iter=4, tolerance=0.0)
    model = seeking(awake(build_model(name, preset="tiny")), settings).eval()
    both = SenseOperator(torch.cat((a[1].csm, b[1].csm)), a[1].mask)
    with torch.no_grad():
        batch = model(torch.cat((a[0], b[0])), both, torch.cat((a[2], b[2]))).image
        single = model(a[0], a[1], a[2]).image
    assert torch.allclose(batch[:1], single, atol=2e-5)


def test_sizes_are_those_of_the_papers():
    assert count_parameters(ResidualDenseBlock(64, 32)) == 239_808
    assert count_parameters(RRDB(64, 32)) == 719_424
    assert count_parameters(RRDB(64, 32, extra_skips=True)) == 725_568
    sft = RRDB(64, 32, sft="block")
    assert count_parameters(sft.sft) == 16_640
    model = build_model("jrsr", preset="paper")
    assert len(model.sr.trunk) == 23
    assert 17.0e6 < count_parameters(model.sr) < 17.3e6


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_system_builds_in_every_preset(name, preset):
    assert build_model(name, preset=preset) is not None


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match="'jrsr-cd', did you mean 'jrsr-dc'"):
        build_model("jrsr-cd")
    with pytest.raises(ValueError, match="unknown preset 'huge'"):
        build_model("jrsr", preset="huge")


def test_rec_starts_as_averaged_gradient_descent():
    # D is zero at the start, so T is a = 0.97 times one gradient step with eta = 1.
    kspace, sense, *_ = scan()
    lr = sense.at_low_resolution()
    zero_filled = lr.adjoint(kspace)
    rec = RecModule(RecConfig(8, 4))
    with torch.no_grad():
        step = rec.step(zero_filled, zero_filled, lr, None)
    expected = 0.97 * (zero_filled - (lr.gram(zero_filled) - zero_filled))
    assert torch.allclose(step, expected, atol=1e-6)


def test_untrained_equilibrium_is_the_tikhonov_solution():
    # x = a (x - A^H (A x - b)), or (A^H A + (1 - a)/a) x = A^H b: CG-SENSE with lambda = 3/97.
    kspace, sense, *_ = scan()
    lr = sense.at_low_resolution()
    settings = FixedPointSettings("anderson", n_iter=100, tolerance=1e-5)
    rec = seeking(RecModule(RecConfig(8, 4)), settings).eval()
    with torch.no_grad():
        x, report = rec(lr.adjoint(kspace), lr)
    expected = CgSense(regularisation=3 / 97, n_iter=60)(kspace, lr)
    assert report.stopped_by == "tolerance"
    assert torch.allclose(x, expected, atol=5e-4)


def test_untrained_implicit_equilibrium_is_a_weaker_tikhonov_solution():
    # D(s) = c s, so (A^H A + lambda (1 - c) / (1 + c lambda)) x = A^H b with eta = 1.
    kspace, sense, *_ = scan()
    lr = sense.at_low_resolution()
    settings = FixedPointSettings("anderson", n_iter=100, tolerance=1e-5)
    rec = seeking(RecModule(RecConfig(8, 4, data_step="implicit")), settings).eval()
    with torch.no_grad():
        x, report = rec(lr.adjoint(kspace), lr)
    weight = 3 / 97
    expected = CgSense(regularisation=weight * 0.1 / (1 + 0.9 * weight), n_iter=200)(kspace, lr)
    assert report.stopped_by == "tolerance"
    assert torch.allclose(x, expected, atol=2e-3)


def test_both_data_steps_have_one_equilibrium():
    kspace, sense, *_ = scan()
    lr = sense.at_low_resolution()
    zero_filled = lr.adjoint(kspace)
    implicit = awake(RecModule(RecConfig(8, 4, data_step="implicit"))).eval()
    with torch.no_grad():
        implicit.prox.conv_out.weight.mul_(0.2)  # a contraction
    gradient = RecModule(RecConfig(8, 4)).eval()
    gradient.load_state_dict(implicit.state_dict())
    gradient.prox.identity = implicit.prox.identity
    seeking(implicit, FixedPointSettings("anderson", n_iter=200, tolerance=1e-5, memory=8))
    with torch.no_grad():
        x, report = implicit(zero_filled, lr)
        stepped = gradient.step(x, zero_filled, lr, None)
    assert report.stopped_by == "tolerance"
    # A gradient step leaves it where it is: by 1 - a of what is missing, and less.
    assert torch.allclose(stepped, x, atol=1e-4)
    assert float((x - zero_filled).abs().max()) > 0.1


def test_unknown_data_step_is_refused():
    with pytest.raises(ValueError, match="data_step is 'newton', known: gradient, implicit"):
        RecConfig(data_step="newton")


def test_nothing_appears_where_no_coil_sees():
    kspace, sense, noise, *_ = scan()
    csm = sense.csm.clone()
    csm[..., :20] = 0
    blind = SenseOperator(csm, sense.mask)
    model = awake(build_model("jrsr-dc", preset="tiny")).eval()
    with torch.no_grad():
        low = model(kspace, blind, noise).low_resolution
    assert float(low[..., :10].abs().max()) == 0
    assert float(low.abs().max()) > 0


def test_unshuffled_prox_keeps_odd_sizes():
    rec = awake(RecModule(RecConfig(8, 4, unshuffle=2)))
    s = torch.randn(1, 27, 31, dtype=torch.complex64)
    assert rec.prox(s).shape == s.shape


def test_jrsr_dc_depends_on_the_noise_level():
    kspace, sense, noise, *_ = scan()
    model = awake(build_model("jrsr-dc", preset="tiny")).eval()
    with torch.no_grad():
        quiet = model(kspace, sense, noise / 4).image
        loud = model(kspace, sense, noise * 4).image
    assert not torch.allclose(quiet, loud, atol=1e-4)
    with pytest.raises(ValueError, match="noise_std"):
        model(kspace, sense)


class TestDataConsistency:
    """HR data consistency against dense algebra and against its limits."""

    def solve(self, n_iter=60):
        kspace, sense, noise, *_ = scan((24, 32), n_acs=4)
        prior = torch.randn(1, 24, 32, dtype=torch.complex64)
        block = DataConsistency(n_iter=n_iter)
        image = block(prior, sense.adjoint(kspace), sense, noise)
        return block, image, prior, kspace, sense, noise

    def test_satisfies_the_normal_equations(self):
        block, image, prior, kspace, sense, noise = self.solve()
        mu = block.mu(noise)
        left = sense.gram(image) + mu * image
        right = sense.adjoint(kspace) + mu * prior
        assert torch.allclose(left, right, atol=1e-4)

    def test_limits_of_the_noise_level(self):
        # Without noise the measurement wins, with much noise the prior image does.
        block, _, prior, kspace, sense, noise = self.solve()
        zero_filled = sense.adjoint(kspace)

        def misfit(image):
            return float(torch.linalg.vector_norm(sense(image) - kspace).detach())

        quiet = block(prior, zero_filled, sense, torch.full_like(noise, 1e-4))
        assert misfit(quiet) < 0.05 * misfit(prior)
        with torch.no_grad():
            block.log_tau1.fill_(-10.0)
        loud = block(prior, zero_filled, sense, torch.full_like(noise, 10.0))
        assert torch.allclose(loud, prior, atol=1e-3)

    def test_more_weight_on_the_measurement_outside_training(self):
        block, noise = DataConsistency(), torch.tensor([0.01])
        trained = block.mu(noise)
        assert torch.allclose(block.eval().mu(noise), trained / CAUTION**2)

    def test_gradient_is_that_of_the_exact_solution(self):
        kspace, sense, noise, *_ = scan((12, 16), n_acs=2, acceleration=1.5)
        block = DataConsistency(n_iter=100, tau0=0.3)
        zero_filled = sense.adjoint(kspace)
        prior = torch.randn(1, 12, 16, dtype=torch.complex64, requires_grad=True)
        weight = torch.randn(1, 12, 16, dtype=torch.complex64)
        loss = (weight.conj() * block(prior, zero_filled, sense, noise)).real.sum()
        loss.backward()
        identity = torch.eye(192, dtype=torch.complex64).reshape(192, 12, 16)
        gram = sense.gram(identity.reshape(192, 12, 16)).reshape(192, 192).T
        mu = block.mu(noise).detach()
        exact = torch.linalg.solve(gram + mu[0] * torch.eye(192), weight.reshape(-1))
        assert torch.allclose(prior.grad.reshape(-1), mu.flatten() * exact, rtol=2e-2, atol=1e-3)
        assert block.log_tau0.grad is not None
        step = 1e-2

        def value(shift):
            with torch.no_grad():
                block.log_tau0 += shift
                out = (weight.conj() * block(prior, zero_filled, sense, noise)).real.sum()
                block.log_tau0 -= shift
            return float(out)

        numeric = (value(step) - value(-step)) / (2 * step)
        assert float(block.log_tau0.grad) == pytest.approx(numeric, rel=0.1)


class TestInterpolation:
    """Bicubic and nearest on the grids whose origins are n//2."""

    @pytest.mark.parametrize("n", [16, 17])
    def test_bicubic_keeps_the_lr_pixels(self, n):
        matrix = bicubic_matrix(n)
        assert torch.allclose(matrix[n % 2 :: 2], torch.eye(n))
        assert torch.allclose(matrix.sum(1), torch.ones(2 * n))

    @pytest.mark.parametrize("n", [16, 17])
    def test_bicubic_is_exact_on_quadratics_inside(self, n):
        lr = (torch.arange(n) - n // 2).float()
        hr = (torch.arange(2 * n) - n) / 2
        upsampled = bicubic_matrix(n) @ lr.square()
        assert torch.allclose(upsampled[4:-4], hr.square()[4:-4], atol=1e-3)

    def test_naive_bicubic_is_the_library_one(self):
        image = 1 + torch.rand(1, 1, 12, 14)  # magnitudes are clamped at 0
        ours = BicubicUpsample(aligned=False)(image[0])
        # torch's plain bicubic has a = -0.75; its antialias variant has Keys' a = -0.5 and equals
        # it when enlarging. Libraries renormalise the weights at the edges, we replicate them.
        theirs = torch.nn.functional.interpolate(
            image, scale_factor=2, mode="bicubic", align_corners=False, antialias=True
        )
        assert torch.allclose(ours[0, 4:-4, 4:-4], theirs[0, 0, 4:-4, 4:-4], atol=1e-5)

    @pytest.mark.parametrize("n", [8, 9])
    def test_nearest_puts_lr_pixels_where_they_lie(self, n):
        image = torch.arange(float(n * n)).reshape(1, 1, n, n)
        up = upsample_nearest(image, (n, n))
        where = 2 * torch.arange(n) + n % 2
        assert torch.equal(up[..., where[:, None], where], image)


def test_smooth_phase_is_of_modulus_one_and_follows_a_ramp():
    y = torch.linspace(-1.0, 1.0, 32)[:, None].expand(32, 40)
    image = torch.polar(torch.ones(32, 40), 1.5 * y)[None]
    low, high = smooth_phase(image, (64, 80))
    assert torch.allclose(high.abs(), torch.ones(1, 64, 80), atol=1e-5)
    difference = (low * image.conj()).angle().abs()
    assert float(difference[:, 6:-6, 6:-6].max()) < 0.1
    empty, _ = smooth_phase(torch.zeros_like(image), (64, 80))
    assert torch.isfinite(empty.abs()).all()


@pytest.mark.parametrize("k", [1, 6, 11, 12, 17])
@pytest.mark.parametrize("axis", [0, 1])
def test_smooth_phase_has_the_frequencies_of_a_hann_window_of_24_samples(k, axis):
    weight = scipy.signal.windows.hann(25)[12 + k] if k <= 12 else 0.0

    def wave(shape, size):
        along = 2 * torch.pi * k * (torch.arange(shape[axis]) - shape[axis] // 2) / shape[axis]
        wave = 1 + size * torch.polar(torch.ones(shape[axis]), along)
        return (wave[:, None] if axis == 0 else wave).expand(shape)[None]

    shapes = ((48, 40), (96, 80))
    for found, shape in zip(smooth_phase(wave(shapes[0], 0.8), shapes[1]), shapes, strict=True):
        torch.testing.assert_close(found, wave(shape, 0.8 * weight).sgn(), rtol=0, atol=1e-5)


def test_a_phase_of_the_whole_object_is_that_of_the_super_resolved_image():
    kspace, sense, noise, *_ = scan()
    model = awake(build_model("jrsr-dc", preset="tiny")).eval()
    measured = Measurement.of(kspace, sense, noise)
    zero_filled = measured.zero_filled
    x_rec = zero_filled + 0.1 * torch.randn_like(zero_filled)
    turn = torch.polar(torch.tensor(1.0), torch.tensor(0.7))
    with torch.no_grad():
        image = super_resolve(model.sr, x_rec, measured)
        measured = replace(measured, zero_filled=turn * zero_filled)
        turned = super_resolve(model.sr, turn * x_rec, measured)
    assert float((image - sinc_interpolate(x_rec, (48, 64))).norm() / image.norm()) > 0.01
    torch.testing.assert_close(turned, turn * image, rtol=0, atol=1e-4 * float(image.abs().max()))


def test_less_noise_than_in_training_is_told_as_the_least_of_training():
    sense = SenseOperator(torch.ones(1, 2, 32, 40, dtype=torch.complex64), torch.ones(32, 40))

    def level(*noise):
        return condition_maps(torch.tensor(noise), sense, (2, 2))[:, 0, 0, 0]

    assert torch.equal(level(1e-5), level(QUIETEST))
    assert torch.equal(level(0.0), level(QUIETEST))
    torch.testing.assert_close(level(0.01, 0.02, 0.16), torch.tensor([0.0, 0.25, 1.0]))


class TestAliasing:
    """The least noise that networks are told where hardly anything is measured outside."""

    SHAPE = (116, 128)

    def test_it_is_none_for_the_protocols_and_full_for_calibration_lines_alone(self):
        brain = make_mask("gaussian", self.SHAPE, 2.5, n_acs=24, seed=0)
        assert float(aliasing(brain)) == 0.0
        assert float(aliasing(torch.ones(self.SHAPE))) == 0.0
        wall = make_mask("poisson", self.SHAPE, 4.0, n_acs=24, seed=0)
        assert float(aliasing(wall)) < 0.007, "less than its noise"
        few = make_mask("gaussian", self.SHAPE, 116 / 24, n_acs=20, seed=0)
        assert float(aliasing(few)) == pytest.approx(ALIASED)

    def test_it_falls_with_every_line_and_does_not_ask_for_an_axis(self):
        lines = torch.zeros(self.SHAPE)
        lines[48:68] = 1
        found = []
        for k in range(0, 24, 2):
            lines[k] = 1
            found.append(float(aliasing(lines)))
            assert float(aliasing(lines.T)) == pytest.approx(found[-1])
        assert found == sorted(found, reverse=True) and found[0] == pytest.approx(ALIASED)
        assert found[-1] == 0.0
        batch = torch.stack((lines, torch.ones(self.SHAPE)))[:, None]
        assert aliasing(batch).shape == (2,)

    def test_networks_are_told_the_larger_of_noise_and_aliasing(self):
        few = make_mask("gaussian", self.SHAPE, 116 / 24, n_acs=20, seed=0)
        sense = SenseOperator(torch.ones(1, 2, *self.SHAPE, dtype=torch.complex64), few)
        told = condition_maps(torch.tensor([0.003, 0.02, 0.08]), sense, (2, 2))[:, 0, 0, 0]
        torch.testing.assert_close(told, torch.tensor([0.0, 0.25, 0.75]))
