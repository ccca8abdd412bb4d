"""A grown network gives what the small one gave, and all of it learns."""

import pytest
import torch

from jrsr_core.models.jrsr import Jrsr, JrsrConfig, JrsrDc, JrsrDcConfig
from jrsr_core.models.rec import RecConfig
from jrsr_core.models.registry import build_model
from jrsr_core.models.sr import SrConfig
from training.runs.networks.growth import GrowthError, grow

LARGE = {
    "jrsr": (Jrsr, JrsrConfig, 0, {}),
    "jrsr-dc": (JrsrDc, JrsrDcConfig, 2, {"n_in": 6, "n_out": 2}),
}

PARTS = ("sr.", "rec.prox.")


def stirred(model, seed=0):
    """Return the model with weights away from the zeros of the start, as after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.02 * torch.randn(p.shape, generator=generator)
    return model


def large(name, features=20, growth=9, n_blocks=4, **sr):
    kind, config, n_conditions, own = LARGE[name]
    rec = RecConfig(features, growth, n_conditions=n_conditions, data_step="implicit")
    return kind(config(rec, SrConfig(features, growth, n_blocks, **own | sr)))


@pytest.fixture
def pair(request):
    torch.manual_seed(0)
    name = request.param
    small = stirred(build_model(name, preset="tiny"))
    model = stirred(large(name, residual_output=name == "jrsr-dc"), 1)
    return model, small


def outputs(model):
    """Return D of Rec on its own, and SR on its own, for random maps: no fixed point between."""
    generator = torch.Generator().manual_seed(3)
    s = torch.randn((1, 12, 15), dtype=torch.complex64, generator=generator)
    n = 2 if isinstance(model, JrsrDc) else 0
    conditions = torch.randn((1, n, 12, 15), generator=generator) if n else None
    x = torch.randn((1, 6 if n else 1, 12, 15), generator=generator)
    known = torch.randn((1, 2, 12, 15), generator=generator)
    return model.rec.prox(s, conditions), model.sr(x, known)


@pytest.mark.parametrize("pair", LARGE, indirect=True)
def test_the_large_network_begins_as_the_small_one(pair):
    model, small = pair
    before = outputs(model)
    grow(model, small)
    for now, wanted, other in zip(outputs(model), outputs(small), before, strict=True):
        torch.testing.assert_close(
            now, wanted, rtol=1e-4, atol=1e-5 * float(wanted.detach().abs().max())
        )
        assert not torch.allclose(other, wanted, rtol=0.1)
    assert torch.equal(model.rec.eta, small.rec.eta)


@pytest.mark.parametrize("pair", LARGE, indirect=True)
def test_every_new_weight_is_reached_within_a_few_steps(pair):
    model, small = pair
    grow(model, small)
    start = {k: v.clone() for k, v in model.state_dict().items() if k.startswith(PARTS)}
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(5):
        adam.zero_grad()
        rec, sr = outputs(model)
        (rec.abs().square().sum() + (sr - 1).square().sum()).backward()
        adam.step()
    now = model.state_dict()
    still = {
        key: share
        for key, value in start.items()
        if (share := float((now[key] == value).float().mean())) > 0.02
    }
    assert not still


@pytest.mark.parametrize("pair", ["jrsr"], indirect=True)
def test_what_cannot_begin_as_the_other_is_refused(pair):
    model, small = pair
    with pytest.raises(GrowthError, match=r"conv_in is \(8, .*, was \(20,"):
        grow(small, model)
    with pytest.raises(GrowthError, match="it is JrsrDc, was Jrsr"):
        grow(large("jrsr-dc"), small)
    with pytest.raises(GrowthError, match="only one of both has the extra skips"):
        grow(large("jrsr", extra_skips=False), small)
    with pytest.raises(GrowthError, match=r"trunk.1 is missing"):
        grow(small, large("jrsr", 8, 4, 2))
    with pytest.raises(GrowthError, match=r"rec.prox: unshuffle is 2, was 1"):
        grow(build_model("recon", preset="compact"), build_model("recon", preset="tiny"))
    for name in ("modl", "dl-espirit", "t2net"):
        with pytest.raises(GrowthError):
            grow(build_model(name, preset="compact"), build_model(name, preset="tiny"))
    deeper = Jrsr(JrsrConfig(RecConfig(8, 4, 2, data_step="implicit"), SrConfig(8, 4, 1)))
    with pytest.raises(GrowthError, match=r"rec.prox.blocks.1 is new; only an SR trunk"):
        grow(deeper, small)


def test_a_refinement_begins_as_the_first_pass():
    small = stirred(build_model("jrsr-dc", preset="tiny"))
    model = stirred(build_model("jrsr-dc", preset="tiny", refinement=True), 1)
    grow(model, small)
    first, second = small.state_dict(), model.refinement.state_dict()
    own = model.state_dict()
    for name, value in first.items():
        assert torch.equal(own[name], value), name
        if name == "sr.conv_in.weight":
            assert torch.equal(second[name][:, :6], value)
            assert not second[name][:, 6:].any()
            continue
        assert torch.equal(second[name], value), name
    assert first.keys() == second.keys()


@pytest.mark.parametrize("is_refined", [False, True])
def test_a_deeper_second_pass_begins_as_the_other(is_refined):
    small = stirred(build_model("jrsr-dc", preset="tiny", refinement=is_refined))
    model = build_model("jrsr-dc", preset="tiny", refinement=True, refinement_blocks=3)
    grow(stirred(model, 1), small)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn((1, 14, 12, 15), generator=generator)
    known = torch.randn((1, 2, 12, 15), generator=generator)
    # Without the detail of the first pass, which a network of one pass does not read.
    expected = small.refinement.sr(x, known) if is_refined else small.sr(x[:, :6], known)
    scale = float(expected.detach().abs().max())
    found = model.refinement.sr(x, known)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * scale)
    assert torch.equal(model.sr.conv_in.weight, small.sr.conv_in.weight)


def test_a_refined_network_grows_from_a_refined_one():
    small = stirred(build_model("jrsr-dc", preset="tiny", refinement=True))
    model = build_model("jrsr-dc", preset="tiny", refinement=True)
    grow(model, small)
    for name, value in small.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    with pytest.raises(GrowthError, match="refinement is missing"):
        grow(build_model("jrsr-dc", preset="tiny"), small)
