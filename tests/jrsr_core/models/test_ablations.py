"""The ablations of the paper, and data consistency after any system (``+dc``)."""

import dataclasses

import pytest
import torch

from jrsr_core.models.consistency import denoising
from jrsr_core.models.consistent import Consistent
from jrsr_core.models.fixed_point import FixedPointSettings
from jrsr_core.models.registry import build_model
from jrsr_core.physics.resolution import sinc_interpolate
from jrsr_core.physics.solvers import conjugate_gradient
from jrsr_core.tensors import to_channels
from tests.jrsr_core.models.test_models import FEW, awake, scan, seeking


class TestAblations:
    """What is connected to what."""

    def image_gradient_of_rec(self, name):
        kspace, sense, noise, *_ = scan()
        model = seeking(awake(build_model(name, preset="tiny")), FEW)
        model(kspace, sense, noise).image.abs().sum().backward()
        return [p.grad for p in model.rec.parameters()]

    def test_only_end_to_end_training_tells_rec_of_the_image(self):
        assert all(g is None for g in self.image_gradient_of_rec("recon-sr"))
        for name in ("recon+sr", "recon+sr-sft"):
            assert all(g is not None for g in self.image_gradient_of_rec(name))

    def test_recon_untrained_is_the_tikhonov_solution_on_the_hr_grid(self):
        # (g^-2 A^H A + l (1 - c)/(1 + c l)) x = g^-2 A^H b, l = (1 - a)/a with a = 0.9, c = 0.9:
        # unmeasured k-space stays empty.
        kspace, sense, *_ = scan()
        model = build_model("recon", preset="tiny").eval()
        model.rec.evaluation = FixedPointSettings(n_iter=100, tolerance=1e-5)
        with torch.no_grad():
            output = model(kspace, sense)
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
        assert again.iterations <= 2 < low.iterations
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

    def test_leaves_the_output_of_the_system_as_it_is(self):
        kspace, sense, noise, *_ = scan()
        inner = build_model("cg-sense+sinc")
        made = inner(kspace, sense, noise)
        before = dict(vars(made))
        inner.forward = lambda *arguments, **solver: made
        step = Consistent(inner).eval()
        with torch.no_grad(), denoising(0.5):
            output = step(kspace, sense, noise)
        assert vars(made) == before and made.prior is None
        assert output.prior is made.image and output.low_resolution is made.low_resolution
        assert torch.equal(output.prior_weight, step.consistency.mu(noise))
        assert output.denoise == 0.5 and output.seconds.keys() > made.seconds.keys()
        with pytest.raises(dataclasses.FrozenInstanceError):
            output.image = made.image

    def test_is_refused_where_it_makes_no_sense(self):
        kspace, sense, *_ = scan()
        with pytest.raises(ValueError, match="jrsr-dc has HR data consistency already"):
            build_model("jrsr-dc+dc")
        with pytest.raises(ValueError, match="bicubic is a part"):
            build_model("bicubic+dc")
        with pytest.raises(ValueError, match=r"\+dc needs noise_std"):
            build_model("sr+dc", preset="tiny")(kspace, sense)
