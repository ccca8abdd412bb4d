"""Losses against their formulas, discriminators, and the perceptual loss with its fallbacks."""

import hashlib
import math
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import softplus

from jrsr_core.metrics.trunks import TRUNKS, TrunkError
from jrsr_core.physics.resolution import sinc_interpolate
from tests.helpers.trunks import random_trunk
from training.config.groups import (
    DiscriminatorName,
    DiscriminatorNorm,
    Loss,
    Perceptual,
)
from training.losses.best_buddy import best_buddies, best_buddy_loss, random_crop
from training.losses.discriminators import build_discriminator
from training.losses.objective import Pair, adversarial_terms, reconstruction_terms
from training.losses.perceptual import DEEPEST, difference_from_recipe, make_perceptual
from training.losses.pixel import (
    back_projection_loss,
    discriminator_loss,
    feature_loss,
    generator_loss,
    l1,
    textured,
)


def test_vanilla_losses_are_the_equations_of_the_paper():
    fake, real = torch.randn(5), torch.randn(5)
    d = torch.sigmoid
    assert torch.allclose(generator_loss(fake, real, "vanilla"), -d(fake).log().mean())
    expected = -(1 - d(fake)).log().mean() - d(real).log().mean()
    assert torch.allclose(discriminator_loss(fake, real, "vanilla"), expected)


def test_relativistic_losses_compare_with_the_mean_of_the_others():
    fake, real = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0])
    expected = (softplus(-(real - 1.5)).mean() + softplus(fake - 2.0).mean()) / 2
    assert torch.allclose(discriminator_loss(fake, real, "relativistic"), expected)
    # What the discriminator gains the generator loses: the roles are exchanged.
    swapped = discriminator_loss(real, fake, "relativistic")
    assert torch.allclose(generator_loss(fake, real, "relativistic"), swapped)
    equal = discriminator_loss(fake, fake, "relativistic")
    assert float(equal) >= math.log(2)


def test_magnitudes_are_compared_with_magnitudes():
    target = torch.randn(1, 8, 8, dtype=torch.complex64)
    assert float(l1(target.abs(), target)) == 0.0
    assert float(l1(1j * target, target)) > 0.1


def test_best_buddies_are_those_of_the_exhaustive_search():
    patches, own, candidates = torch.rand(2, 7, 9), torch.rand(2, 7, 9), torch.rand(2, 30, 9)
    chosen = best_buddies(patches, own, candidates)
    for b in range(2):
        for i in range(7):
            cost = (patches[b, i] - candidates[b]).square().sum(-1)
            cost = cost + (own[b, i] - candidates[b]).square().sum(-1)
            assert torch.equal(chosen[b, i], candidates[b, cost.argmin()])


def test_best_buddy_forgives_what_the_pixel_loss_does_not():
    target = torch.rand(1, 24, 24)
    assert float(best_buddy_loss(target, target)) == 0.0
    shifted = torch.roll(target, 3, -1)  # every patch is a patch of the truth, elsewhere
    image = shifted.clone().requires_grad_()
    loss = best_buddy_loss(image, target)
    assert float(loss.detach()) < 0.7 * float((shifted - target).abs().mean())
    loss.backward()
    assert float(image.grad.abs().max()) > 0


def test_crops_are_of_one_place():
    a = torch.arange(600.0).reshape(1, 20, 30)
    crops = random_crop((a, 2 * a), 8, torch.Generator().manual_seed(0))
    assert crops[0].shape == (1, 8, 8)
    assert torch.equal(2 * crops[0], crops[1])
    assert random_crop((a,), 64, torch.Generator())[0].shape == a.shape


def test_back_projection_of_the_truth_is_nothing():
    lr = torch.randn(1, 10, 12, dtype=torch.complex64)
    hr = sinc_interpolate(lr, (20, 24))
    assert float(back_projection_loss(hr, lr)) < 1e-6
    assert float(back_projection_loss(1.5 * hr, lr)) > 0.1


def test_flat_regions_are_masked():
    image = torch.zeros(1, 40, 40)
    image[:, :, 22:] = torch.rand(1, 40, 18)
    mask = textured(image, (80, 80), 0.025)
    assert float(mask[:, :, 14:28].mean()) < 0.1
    assert float(mask[:, :, 50:70].mean()) == 1.0
    # Of noise around zero with a standard deviation of 0.1, the variance is 0.01.
    noise = 0.1 * torch.randn(1, 40, 40, generator=torch.Generator().manual_seed(0))
    assert float(textured(noise, (40, 40), 0.05).mean()) == 1.0
    assert float(textured(noise, (40, 40), 0.2).mean()) == 0.0
    pair = Pair(torch.ones(1, 80, 80), torch.ones(1, 80, 80), image)
    assert torch.equal(pair.without_flat(0.025).image, mask)
    assert pair.without_flat(0.0) is pair


@pytest.mark.parametrize("norm", get_args(DiscriminatorNorm))
@pytest.mark.parametrize("name", get_args(DiscriminatorName))
def test_discriminators_take_any_size_and_learn(name, norm):
    net = build_discriminator(name, "tiny", norm=norm)
    for shape in ((64, 58), (66, 72)):
        image = torch.rand(2, *shape, requires_grad=True)
        lr = torch.rand(2, shape[0] // 2, shape[1] // 2)
        logits, features = net(image, lr)
        assert logits.shape == (2,)
        assert len(features) == (5 if name == "medsrgan" else 0)
        logits.sum().backward()
        assert float(image.grad.abs().max()) > 0
    assert all(p.grad is not None for p in net.parameters())


def test_vgg19_discriminator_is_vgg19():
    net = build_discriminator("vgg19", "paper")
    convs = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in convs] == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    assert sum(c.weight.numel() for c in convs) == pytest.approx(20.0e6, rel=0.01)


def test_feature_loss_pulls_the_generator_only():
    net = build_discriminator("medsrgan", "tiny")
    net.requires_grad_(False)
    image, target = torch.rand(2, 64, 58, requires_grad=True), torch.rand(2, 64, 58)
    loss = Loss(adv=0.05, feature=0.005)
    pair = Pair(image, target, torch.rand(2, 32, 29))
    terms = adversarial_terms(net, pair, loss)
    assert set(terms) == {"adv", "feature"}
    sum(terms.values()).backward()
    assert float(image.grad.abs().max()) > 0


def test_feature_loss_is_the_weighted_squared_distance():
    fake, real = [torch.tensor([2.0, 0.0]), torch.tensor([3.0])], [torch.zeros(2), torch.ones(1)]
    assert float(feature_loss(fake, real, (0.5, 2.0))) == pytest.approx(0.5 * 4 / 2 + 2 * 2**2)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("recon", {"rec": 0.5}),
        ("psnr", {"pix": 0.25, "rec": 3 * 0.5}),
        ("full", {"pix": 0.01 * 0.25, "rec": 3 * 0.5}),
    ],
)
def test_weights_of_pixel_and_reconstruction_loss(phase, expected):
    truth, lr_truth = torch.ones(1, 4, 4) + 0j, torch.ones(1, 2, 2) + 0j
    x_rec = (lr_truth + 0.5).requires_grad_()
    scan = SimpleNamespace(target=truth, lr_target=lr_truth)
    output = SimpleNamespace(image=truth + 0.25, low_resolution=x_rec)
    terms = reconstruction_terms(output, scan, Loss(pix=0.01, rec=3.0), phase)
    assert {name: float(term.detach()) for name, term in terms.items()} == pytest.approx(expected)


def perceptual(**settings):
    return make_perceptual(Loss(per=1.0, perceptual=Perceptual(**settings)))


def test_the_fallback_is_recorded():
    made = perceptual(network="vgg19", fallback="gradient")
    assert made.facts == {"wanted": "vgg19", "used": "gradient", "fallback": True}
    image, target = torch.rand(1, 32, 32, requires_grad=True), torch.rand(1, 32, 32)
    loss = made.loss(image, target)
    loss.backward()
    assert float(image.grad.abs().max()) > 0
    assert float(made.loss(target, target)) == 0.0
    chosen = perceptual(network="gradient")
    assert chosen.facts["fallback"] is False
    assert torch.allclose(chosen.loss(image, target), loss)


def test_trunk_of_a_local_file(tmp_path):
    trunk = random_trunk("vgg19", 5, layers=("conv5_4",))
    path = tmp_path / "vgg.safetensors"
    save_file({f"features.{k}": v for k, v in trunk.features.state_dict().items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    made = perceptual(network="vgg19", file=str(path), sha256=digest)
    assert made.facts == {"wanted": "vgg19", "used": "vgg19", "fallback": False, "sha256": digest}
    image, target = torch.rand(1, 32, 32), torch.rand(1, 32, 32)
    scaled = [(x / target.max()).clamp(0, 1) for x in (image, target)]
    features = [trunk(x)["conv5_4"] for x in scaled]
    expected = (features[0] - features[1]).abs().mean()
    assert torch.allclose(made.loss(image, target), expected)
    with pytest.raises(TrunkError, match="expected dcbb9e9d"):
        perceptual(network="vgg19", file=str(path), fallback="gradient")


def test_layers_of_another_network_give_way_to_the_deepest_of_this(tmp_path):
    # As the recipes of the paper with `loss.perceptual.network=squeezenet` have it.
    trunk = random_trunk("squeezenet", 5, layers=("fire9",))
    path = tmp_path / "squeezenet.safetensors"
    save_file({f"features.{k}": v for k, v in trunk.features.state_dict().items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    given = {"network": "squeezenet", "file": str(path), "sha256": digest}

    def made(**layers):
        return perceptual(**given, layers=layers)

    foreign, own = made(conv4_4=0.5, conv5_4=1.0), made(fire9=1.0)
    image, target = torch.rand(1, 32, 32), torch.rand(1, 32, 32)
    assert torch.equal(foreign.loss(image, target), own.loss(image, target))
    assert foreign.facts == own.facts | {"layers": {"fire9": 1.0}}
    stated = difference_from_recipe(foreign.facts, Perceptual(layers={"conv5_4": 1.0}))
    assert stated == "squeezenet has no conv5_4: the perceptual loss takes fire9"
    assert difference_from_recipe(own.facts, Perceptual()) == ""
    with pytest.raises(TrunkError, match="conv5_9"):
        made(conv5_9=1.0)
    with pytest.raises(TrunkError, match="conv5_4"):
        made(fire9=1.0, conv5_4=1.0)


def vgg16(tmp_path, **settings):
    layers = settings.get("layers", {"conv5_3": 1.0})
    trunk = random_trunk("vgg16", 5, layers=tuple(layers))
    path = tmp_path / "vgg16.safetensors"
    save_file({f"features.{k}": v for k, v in trunk.features.state_dict().items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return trunk, perceptual(network="vgg16", file=str(path), sha256=digest, **settings)


def test_vgg16_stands_in_for_vgg19_and_says_so(tmp_path):
    trunk, made = vgg16(tmp_path)
    assert made.facts["used"] == "vgg16" and len(made.facts["sha256"]) == 64
    assert "VGG-16 of the authors in place of the paper's VGG-19" in made.facts["unlike_paper"]
    image, target = torch.rand(2, 32, 32), torch.rand(2, 32, 32)
    peak = target.amax((-2, -1), keepdim=True)
    found, wanted = (trunk((x / peak).clamp(0, 1))["conv5_3"] for x in (image, target))
    assert torch.allclose(made.loss(image, target), (found - wanted).abs().mean())


def test_the_cosine_distance_does_not_depend_on_the_scale_of_features(tmp_path):
    trunk, made = vgg16(tmp_path, layers={"conv2_2": 1.0}, distance="cosine")
    image, target = torch.rand(1, 32, 32), torch.rand(1, 32, 32)
    before = made.loss(image, target)
    last = list(made.loss.trunk.features)[-1]
    last.weight.mul_(7.0)
    assert torch.allclose(made.loss(image, target), before, rtol=1e-4)
    a, b = (trunk((x / target.max()).clamp(0, 1))["conv2_2"][0].flatten(1) for x in (image, target))
    cosine = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0))
    assert torch.allclose(before, (1 - cosine).mean(), atol=1e-5)
    assert float(made.loss(target, target)) == pytest.approx(0.0, abs=1e-6)


def test_features_of_named_truths_are_computed_once(tmp_path, monkeypatch):
    _, made = vgg16(tmp_path)
    images, targets = torch.rand(2, 32, 32), torch.rand(2, 32, 32)
    plain = made.loss(images, targets)
    assert not made.loss.kept
    assert torch.allclose(made.loss(images, targets, ["a", "b"]), plain, rtol=1e-6)
    assert set(made.loss.kept) == {"a", "b"}
    same = made.loss(images, targets, ["a", "b"])
    monkeypatch.setattr(type(made.loss.trunk), "forward", _once(made.loss.trunk))
    assert torch.equal(made.loss(images, targets, ["a", "b"]), same)
    monkeypatch.undo()
    monkeypatch.setattr("training.losses.perceptual.KEPT_BYTES", made.loss.kept_bytes)
    assert torch.isfinite(made.loss(images, targets, ["c", "d"]))
    assert set(made.loss.kept) == {"a", "b"}, "no room for more"


def _once(trunk):
    """A forward that may be called a single time."""
    forward, calls = type(trunk).forward, []

    def counted(self, magnitude):
        calls.append(1)
        assert len(calls) == 1, "features of the truth computed again"
        return forward(self, magnitude)

    return counted


def test_lpips_judges_with_a_network_that_no_training_sees():
    # LPIPS takes AlexNet; a loss with its features would be trained against the judge.
    networks = set(get_args(Perceptual.model_fields["network"].annotation))
    assert networks & TRUNKS.keys() == DEEPEST.keys() == TRUNKS.keys() - {"alexnet"}
    with pytest.raises(ValueError, match="network"):
        Perceptual(network="alexnet")


def test_no_weights_and_no_fallback_is_an_error():
    with pytest.raises(TrunkError, match=r"network is squeezenet, but there are no weights: give"):
        perceptual(network="squeezenet")
    assert make_perceptual(Loss(perceptual=Perceptual(network="vgg19"))) is None
