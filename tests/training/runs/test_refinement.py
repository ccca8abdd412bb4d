"""Runs that train the second pass of `jrsr-dc`."""

import pytest
import torch

from jrsr_core.models.jrsr import JrsrDc
from jrsr_core.models.registry import build_model
from jrsr_core.weights.load import load_weights
from tests.training.conftest import tiny
from training.data.manifest import Manifest
from training.errors import UsageError
from training.evaluation.export import export
from training.runs import fit
from training.runs.checkpoint import CheckpointError, part, read_checkpoint
from training.runs.networks.initial_weights import averaged_model, load_start

REFINED = {"model": "jrsr-dc", "refinement": True}


@pytest.fixture(scope="module")
def first_pass(scans, tmp_path_factory):
    """A weights card of `jrsr-dc` with one pass."""
    out = tmp_path_factory.mktemp("first")
    fit(tiny(scans, out, model="jrsr-dc", steps=2))
    return export(out, out / "weights")


def test_the_first_pass_stays_and_the_second_learns(scans, first_pass, tmp_path):
    fit(tiny(scans, tmp_path, steps=2, start__grow_from=str(first_pass), **REFINED))
    before = load_weights(first_pass)[0].state_dict()
    model = averaged_model(tmp_path)[0]
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value), name
    second = model.refinement.state_dict()
    learned = {name for name in before if not torch.equal(second[name].float(), before[name])}
    assert {"rec.rho", "sr.conv_up.weight", "consistency.log_tau0"} <= learned
    assert export(tmp_path, tmp_path / "weights").exists()
    loaded, card = load_weights(tmp_path / "weights" / "jrsr-dc_tiny.json")
    assert (card.architecture["refinement"], card.training["refinement"]) == (True, True)
    assert loaded.refinement is not None


def test_a_first_pass_is_trained_on_from_a_refined_network(scans, first_pass, tmp_path):
    refined = tmp_path / "refined"
    fit(tiny(scans, refined, steps=1, start__grow_from=str(first_pass), **REFINED))
    settings = {"model": "jrsr-dc", "steps": 1, "start__init": str(refined)}
    config = tiny(scans, tmp_path / "on", **settings)
    own = build_model("jrsr-dc", preset="tiny")
    load_start(own, config)
    before = load_weights(first_pass)[0].state_dict()
    for name, value in own.state_dict().items():
        assert torch.equal(value, before[name]), name
    fit(config)
    card = export(tmp_path / "on", tmp_path / "weights", start_share=0.5)
    alone, *_ = averaged_model(tmp_path / "on")
    mixed = load_weights(card)[0].state_dict()
    for name, value in alone.state_dict().items():
        expected = (value + before[name]) / 2
        torch.testing.assert_close(mixed[name], expected, rtol=1e-3, atol=1e-6)


def test_a_share_of_the_start_is_one_of_the_copy(scans, first_pass, tmp_path):
    fit(tiny(scans, tmp_path, steps=2, start__grow_from=str(first_pass), **REFINED))
    alone = averaged_model(tmp_path)[0].refinement.state_dict()
    before = load_weights(first_pass)[0].state_dict()
    card = export(tmp_path, tmp_path / "weights", start_share=0.25)
    mixed = load_weights(card)[0].refinement.state_dict()
    for name, value in alone.items():
        start = torch.zeros_like(value)
        if name == "sr.conv_in.weight":
            start[:, :6] = before[name]
        else:
            start = before[name]
        torch.testing.assert_close(mixed[name], 0.75 * value + 0.25 * start, rtol=1e-3, atol=1e-5)
    assert load_weights(card)[1].training["start_share"] == 0.25


def test_a_kept_image_takes_the_place_of_the_first_pass(scans, first_pass, tmp_path, monkeypatch):
    passes, starts = [], []
    first, forward = JrsrDc._first_pass, JrsrDc.forward

    def counted(self, *args):
        passes.append(1)
        return first(self, *args)

    def noted(self, kspace, sense, noise_std=None, *, x0=None):
        output = forward(self, kspace, sense, noise_std, x0=x0)
        starts.append((x0, output.first))
        return output

    monkeypatch.setattr(JrsrDc, "_first_pass", counted)
    monkeypatch.setattr(JrsrDc, "forward", noted)
    settings = {"start__grow_from": str(first_pass), "fixed_point__warm_start": True, **REFINED}
    n_scans = len(Manifest.read(scans).split("train"))
    fit(tiny(scans, tmp_path, steps=2 * n_scans, optimizer__batch=1, **settings))
    assert len(passes) == n_scans
    assert sum(x0 is None for x0, _ in starts) == n_scans
    kept = part(read_checkpoint(tmp_path)[0], "point")
    images = [image for x0, image in starts if x0 is None]
    for x0, image in starts[n_scans:]:
        assert torch.equal(x0, image)
        assert any(torch.equal(x0, other) for other in images)
    assert all(any(torch.equal(v, other) for other in images) for v in kept.values())


def test_a_deeper_second_pass_grows_from_a_trained_one(scans, first_pass, tmp_path):
    small = tmp_path / "small"
    fit(tiny(scans, small, steps=2, start__grow_from=str(first_pass), **REFINED))
    deeper = {"refinement_blocks": 3, "start__grow_from": str(small), **REFINED}
    config = tiny(scans, tmp_path / "deeper", steps=2, **deeper)
    fit(config)
    trained, record, _ = averaged_model(tmp_path / "deeper")
    assert record["refinement_blocks"] == len(trained.refinement.sr.trunk) == 3
    start = build_model("jrsr-dc", preset="tiny", refinement=True, refinement_blocks=3)
    load_start(start, config)
    card = export(tmp_path / "deeper", tmp_path / "weights", start_share=0.25)
    mixed, card = load_weights(card)
    assert card.architecture["refinement_blocks"] == 3
    name = "refinement.sr.trunk.0.dense.0.fuse.weight"
    parts = (model.state_dict()[name] for model in (mixed, trained, start))
    found, alone, before = parts
    assert not torch.equal(alone, before)
    torch.testing.assert_close(found, 0.75 * alone + 0.25 * before, rtol=1e-3, atol=1e-5)


def test_a_refinement_goes_on_bit_for_bit(scans, first_pass, tmp_path):
    settings = {"start__grow_from": str(first_pass), "fixed_point__warm_start": True, **REFINED}
    settings["optimizer__schedule"] = "constant"
    fit(tiny(scans, tmp_path / "cut", steps=2, **settings))
    fit(tiny(scans, tmp_path / "cut", steps=4, **settings))
    fit(tiny(scans, tmp_path / "whole", steps=4, **settings))
    cut, whole = (read_checkpoint(tmp_path / name)[0] for name in ("cut", "whole"))
    assert cut.keys() == whole.keys()
    for name, value in whole.items():
        assert torch.equal(cut[name], value), name


def test_a_refinement_without_a_first_pass_is_refused(scans, tmp_path):
    with pytest.raises(ValueError, match=r"refinement is true, but its first pass is not trained"):
        tiny(scans, tmp_path, **REFINED)
    card = {"start__grow_from": "jrsr-dc"}
    with pytest.raises(ValueError, match=r"phases.recon is 0.5, but a refinement has one phase"):
        tiny(scans, tmp_path, phases__recon=0.5, **card, **REFINED)
    with pytest.raises(UsageError, match=r"^refinement is for jrsr-dc, not for jrsr$"):
        fit(tiny(scans, tmp_path, steps=1, **card, **{**REFINED, "model": "jrsr"}))
    with pytest.raises(ValueError, match=r"refinement_blocks is 3, but refinement is false: give"):
        tiny(scans, tmp_path, model="jrsr-dc", refinement_blocks=3)


def test_a_run_keeps_its_passes(scans, first_pass, tmp_path):
    settings = {"steps": 1, "start__grow_from": str(first_pass), "model": "jrsr-dc"}
    fit(tiny(scans, tmp_path, refinement=True, **settings))
    with pytest.raises(UsageError, match=r"run with refinement True, the recipe says False"):
        fit(tiny(scans, tmp_path, **settings))
    with pytest.raises(UsageError, match=r"run with refinement_blocks 0, the recipe says 3"):
        fit(tiny(scans, tmp_path, refinement=True, refinement_blocks=3, **settings))


def test_other_passes_than_those_of_the_start_are_refused(scans, first_pass, tmp_path):
    settings = {"steps": 1, "refinement_blocks": 3, "start__init": str(first_pass), **REFINED}
    text = r"refinement.* is None, the recipe's model has .* \(start.grow_from begins a larger"
    with pytest.raises(CheckpointError, match=text):
        fit(tiny(scans, tmp_path, **settings))
