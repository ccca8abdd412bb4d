"""Upsamplings and the task transformer of T2Net: exactness, position of pixels, odd sizes."""

import pytest
import torch
from torch.nn import functional

from jrsr_core.models.bebygan import BebyGan, BebyGanConfig
from jrsr_core.models.interpolation import BicubicUpsample
from jrsr_core.models.layers import standardise
from jrsr_core.models.medsrgan import MedSrgan, MedSrganConfig, WholeMapAttentionBlock
from jrsr_core.models.registry import build_model
from jrsr_core.models.task_transformer import TaskTransformer, most_similar
from tests.jrsr_core.models.test_models import scan


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
