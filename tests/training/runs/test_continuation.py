"""A run continues with its own settings alone, and its record and card state those."""

import json
from pathlib import Path

import pytest
import torch

from jrsr_core.weights.card import WeightsCard
from tests.training.conftest import changed, tiny
from training.config import KEYS
from training.config.keys import DEFAULTS
from training.errors import UsageError
from training.evaluation.export import export
from training.runs import fit
from training.runs.checkpoint import part, read_checkpoint
from training.runs.continuation import CHECKED_OTHERWISE, FREE, check_perceptual, check_settings

OTHER = [
    ("loss.pix", 7.0, 1.0),
    ("optimizer.learning_rate", 0.01, 1e-4),
    ("optimizer.batch", 1, 2),
    ("optimizer.schedule", "cosine", "halving"),
    ("phases.psnr", 0.5, 0.0),
    ("fixed_point.max_iterations", 9, 30),
    ("seed", 5, 0),
    ("scans.max_visits", 3, 8),
]


@pytest.fixture(scope="module")
def done(scans, tmp_path_factory):
    """A finished run of two steps, and what its checkpoint holds."""
    config = tiny(scans, tmp_path_factory.mktemp("done"), steps=2)
    fit(config)
    return config, read_checkpoint(Path(config.out))[0]


def record_of(config):
    return json.loads((Path(config.out) / "config.json").read_text())


@pytest.mark.parametrize(("key", "now", "before"), OTHER)
@pytest.mark.parametrize("steps", [2, 3], ids=["finished", "goes on"])
def test_other_settings_are_refused_and_nothing_changes(done, key, now, before, steps):
    config, tensors = done
    recorded = record_of(config)
    words = f"{config.out}: holds a run with {key} {before}, the recipe says {now}; use another "
    with pytest.raises(UsageError) as caught:
        fit(changed(config, steps=steps, **{key: now}))
    assert str(caught.value) == f"{words}folder (out=...) or the same {key}"
    assert record_of(config) == recorded
    now_there, state = read_checkpoint(Path(config.out))
    assert state.step == 2 and all(torch.equal(v, now_there[k]) for k, v in tensors.items())


def test_every_setting_is_free_or_compared(done):
    config, _ = done
    names = FREE + CHECKED_OTHERWISE
    assert all(n in KEYS or n.endswith(".") for n in names), "no name of a deleted setting"
    record = record_of(config)
    compared = [k for k in KEYS if not k.startswith(names)]
    assert {"loss.adv", "patch.size", "optimizer.ema", "model", "loop"} <= set(compared)
    for key in compared:
        with pytest.raises(UsageError, match=f"run with {key} other, "):
            check_settings(config.out, record | {key: "other"}, config)


def test_a_record_without_a_newer_setting_had_its_default(done):
    config, _ = done
    record = record_of(config)
    for key in ("loss.buddy", "patch.size", "loss.perceptual.layers"):
        assert DEFAULTS[key] == record.pop(key)
    check_settings(config.out, record, config)
    with pytest.raises(UsageError, match=r"run with loss.buddy 0.0, the recipe says 0.5;"):
        check_settings(config.out, record, changed(config, loss__buddy=0.5))


def test_a_finished_run_keeps_the_settings_it_had(scans, tmp_path):
    config = tiny(scans, tmp_path / "run", steps=2)
    fit(config)
    recorded = record_of(config)
    fit(changed(config, steps=1, log__every=7, machine__n_threads=1))
    assert record_of(config) == recorded
    card = WeightsCard.read(export(tmp_path / "run", tmp_path / "weights"))
    found = (card.training["steps"], card.training["steps_done"], card.training["samples_seen"])
    assert found == (2, 2, 4)
    fit(changed(config, steps=3, log__every=7))
    assert (record_of(config)["steps"], record_of(config)["log.every"]) == (3, 7)
    assert record_of(config)["run"] == recorded["run"]
    card = WeightsCard.read(export(tmp_path / "run", tmp_path / "weights", overwrite=True))
    assert card.training["samples_seen"] == 6


def test_other_weights_to_start_from_are_refused(scans, tmp_path):
    a = tiny(scans, tmp_path / "a", steps=1)
    fit(a)
    first = export(tmp_path / "a", tmp_path / "first")
    b = tiny(scans, tmp_path / "b", steps=1, start__init=str(first))
    fit(b)
    first.parent.rename(tmp_path / "moved")
    fit(changed(b, steps=2, start__init=str(tmp_path / "moved" / first.name)))
    fit(changed(a, steps=2))
    other = export(tmp_path / "a", tmp_path / "other")
    for now, said in ((str(other), str(other)), ("", "none")):
        with pytest.raises(UsageError) as caught:
            fit(changed(b, steps=3, start__init=now))
        assert f"start.init {tmp_path / 'moved'}" in str(caught.value)
        assert f"the recipe says {said}; " in str(caught.value)


def test_the_network_of_the_perceptual_loss_stays(done):
    config, _ = done
    vgg = {"wanted": "vgg19", "used": "vgg19", "fallback": False, "sha256": "ab" * 32}
    check_perceptual(config.out, {"perceptual_used": vgg}, dict(vgg))
    check_perceptual(config.out, {}, vgg)
    fallback = {"wanted": "vgg19", "used": "gradient", "fallback": True}
    words = r"file gradient, the recipe says vgg19 \(abababababab\); use another folder"
    with pytest.raises(UsageError, match=words):
        check_perceptual(config.out, {"perceptual_used": fallback}, vgg)


def test_a_checkpoint_without_its_record_is_refused(scans, tmp_path):
    config = tiny(scans, tmp_path / "run", steps=1)
    fit(config)
    (tmp_path / "run" / "config.json").unlink()
    with pytest.raises(UsageError, match=r"without config.json, so its settings are unknown"):
        fit(changed(config, steps=2))
    assert part(read_checkpoint(tmp_path / "run")[0], "model")


def test_validation_without_scans_is_named(scans, tmp_path, capsys):
    config = tiny(scans, tmp_path, steps=1, log__validate_every=1, log__validation_slices=0)
    fit(config)
    told = capsys.readouterr().err
    assert told == (
        f"jrsr-train: {scans}: log.validation_slices is 0, so log.validate_every has no effect\n"
    )
