"""Reconstructions: MoDL against its limits, DL-ESPIRiT and soft-SENSE on several map sets."""

import math

import pytest
import torch

from jrsr_core.acs import cut_acs
from jrsr_core.data import KSpaceSlice, SliceGeometry
from jrsr_core.metrics.image import psnr
from jrsr_core.models.dl_espirit import DlEspirit, DlEspiritConfig
from jrsr_core.models.modl import Modl, ModlConfig
from jrsr_core.models.registry import build_model
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.physics.solvers import conjugate_gradient
from jrsr_core.reconstruction.fallback import fallback_image
from jrsr_core.reconstruction.reconstructor import Reconstructor
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import simulate_protocol
from tests.jrsr_core.models.test_models import awake, count_parameters, scan


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
        calibrated = recon.slices.calibrated(slice_)
        assert calibrated.sense.coils.has_map_axis == (n_coils > 1)
        plain = Reconstructor(build_model("cg-sense+sinc"), name="cg-sense+sinc")
        assert calibrated.scale == pytest.approx(plain.slices.calibrated(slice_).scale, rel=1e-4)
        image = recon(slice_)
        assert float(psnr(image.magnitude, simulated.truth)) > 20
        assert 0 < image.report.kspace_residual < 0.5
        assert (
            float(psnr(fallback_image(recon.slices, slice_, "because").magnitude, simulated.truth))
            > 20
        )
