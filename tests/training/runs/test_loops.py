"""Both loops: resume bit for bit after a kill, average, phases, NaN, disk full, mismatches."""

import json
import math
import os
import shutil
import signal
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage import metrics as reference

from jrsr_core.models.interfaces import Clock, ModelOutput
from jrsr_core.models.layers import ResidualDenseBlock
from jrsr_core.physics.resolution import sinc_interpolate
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.weights.card import WeightsCard
from jrsr_core.weights.load import load_weights
from tests.helpers.disk import largest_file
from tests.helpers.processes import run_process
from tests.training.conftest import changed, tiny
from training.config.former_keys import FORMER_KEYS
from training.data.loading.batches import validation_scans
from training.data.manifest import Acquisition, Manifest
from training.data.prepare import open_folder
from training.data.scans import TrainingScan
from training.errors import TrainingDiverged, UsageError
from training.evaluation.export import export
from training.runs import adversarial, fit, supervised
from training.runs.checkpoint import CheckpointError, part, read_checkpoint
from training.runs.log import read_log
from training.runs.networks.build import Learner
from training.runs.networks.initial_weights import averaged_model, weights_sha256
from training.runs.run import Run
from training.runs.schedule import learning_rate, phase_at
from training.runs.update import update
from training.runs.validate import predict, validate

GAN = {
    "loop": "adversarial",
    "loss__adv": 5e-3,
    "loss__per": 1.0,
    "loss__perceptual__network": "gradient",
}
GAN |= {"loss__pix": 1e-2}


def weights(out):
    tensors, state = read_checkpoint(out)
    assert state.step > 0
    return tensors


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert torch.equal(value, b[key]), key


KILLED = """
import os, signal, sys, torch
from training.config import RunConfig
from training.runs import adversarial, fit, supervised
torch.set_num_threads(1)
config = RunConfig.model_validate_json(sys.argv[1])
def on_row(row):
    if row["step"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
fit(config, on_row)
"""


def test_killed_run_goes_on_bit_for_bit(scans, tmp_path):
    # A checkpoint after every step: the kill in step 3, before its own, leaves that of step 2.
    changes = {**GAN, "fixed_point__warm_start": True, "fixed_point__later_iterations": 2}
    config = tiny(scans, tmp_path / "killed", steps=5, log__checkpoint_minutes=0.0, **changes)
    call = [sys.executable, "-c", KILLED, config.model_dump_json()]
    killed = run_process(call, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_checkpoint(tmp_path / "killed")[1].step == 2
    fit(config)
    whole = tiny(scans, tmp_path / "whole", steps=5, **changes)
    fit(whole)
    assert_equal(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    steps = [[r["step"] for r in read_log(tmp_path / name)] for name in ("killed", "whole")]
    assert steps == [[1, 2, 3, 4, 5]] * 2
    kinds = {k.split(".")[0] for k in weights(tmp_path / "whole")}
    assert kinds == {"model", "average", "adam", "discriminator", "adam_d", "point"}


def test_finished_run_is_left_as_it_is(scans, tmp_path):
    fit(tiny(scans, tmp_path, steps=2))
    before = weights(tmp_path)
    fit(tiny(scans, tmp_path, steps=2))
    assert_equal(before, weights(tmp_path))
    assert [r["step"] for r in read_log(tmp_path)] == [1, 2]


def test_average_of_the_weights_by_hand(scans, tmp_path, monkeypatch):
    name, passed = "sr.conv_in.weight", []

    class Watched(Run):
        def finish_step(self, terms, output, finite):
            super().finish_step(terms, output, finite)
            both = (self.networks.model, self.networks.average)
            passed.append([network.state_dict()[name].clone() for network in both])

    monkeypatch.setattr(supervised, "Run", Watched)
    config = tiny(scans, tmp_path, steps=4, optimizer__learning_rate=1e-2, optimizer__ema=0.2)
    average = supervised.fit(config).state_dict()[name]
    end = weights(tmp_path)
    assert torch.equal(average, end[f"average.{name}"])
    assert torch.equal(passed[-1][0], end[f"model.{name}"])
    # Young averages forget faster: (1 + step) / (10 + step) is 2 / 11 in the second step.
    decays = (2 / 11, 0.2, 0.2)
    for (_, before), (model, after), decay in zip(passed, passed[1:], decays, strict=False):
        torch.testing.assert_close(after, decay * before + (1 - decay) * model)
        assert not torch.allclose(after, before, rtol=1e-3)


def test_phases_of_a_run(scans, tmp_path):
    config = tiny(scans, tmp_path, steps=8, phases__recon=0.5, phases__psnr=0.5, **GAN)
    names = [phase_at(s, config).name for s in range(8)]
    assert names == ["recon"] * 4 + ["psnr"] * 2 + ["full"] * 2
    watched = []

    class Watched(Run):
        def finish_step(self, terms, output, finite):
            state = {k: v.clone() for k, v in self.networks.model.state_dict().items()}
            d = next(self.networks.discriminator.network.parameters()).detach().clone()
            watched.append((self.phase.name, state, d, set(terms)))
            super().finish_step(terms, output, finite)

    original, adversarial.Run = adversarial.Run, Watched
    try:
        adversarial.fit(config)
    finally:
        adversarial.Run = original
    for (_, a, d0, _), (phase, b, d1, terms) in pairwise(watched):
        moved = {k.split(".")[0] for k in a if not torch.equal(a[k], b[k])}
        assert moved == ({"rec"} if phase == "recon" else {"sr"}), phase
        assert torch.equal(d0, d1) == (phase != "full")
        assert ("adv" in terms) == (phase == "full")


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("halving", [1.0] * 5 + [0.5] * 5 + [0.25] * 10 + [0.125] * 10 + [0.0625] * 10),
        ("constant", [1.0] * 40),
    ],
)
def test_learning_rate(scans, tmp_path, schedule, expected):
    config = tiny(
        scans, tmp_path, steps=40, optimizer__learning_rate=1.0, optimizer__schedule=schedule
    )
    assert [learning_rate(s, config) for s in range(40)] == expected


def test_cosine_warms_up_and_ends_low(scans, tmp_path):
    changes = {
        "steps": 1000,
        "optimizer__warmup_steps": 100,
        "optimizer__schedule": "cosine",
        "optimizer__learning_rate": 1.0,
    }
    config = tiny(scans, tmp_path, **changes)
    rates = [learning_rate(step, config) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == rates[100] == pytest.approx(1.0)
    # A quarter and a half of the way from the end of the warm-up to the end.
    assert rates[325] == pytest.approx(0.02 + 0.98 * (1 + math.cos(math.pi / 4)) / 2)
    assert rates[550] == pytest.approx(0.51)
    assert rates[-1] == pytest.approx(0.02, abs=0.001)


def test_schedule_starts_anew_after_the_reconstruction(scans, tmp_path):
    config = tiny(scans, tmp_path, steps=80, phases__recon=0.5, optimizer__learning_rate=1.0)
    rates = [learning_rate(s, config) for s in range(80)]
    assert rates[:40] == rates[40:]


@pytest.mark.parametrize(
    ("gradient", "moved"), [([60.0, 80.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])]
)
def test_gradients_longer_than_one_are_shortened_to_it(gradient, moved):
    network = torch.nn.Linear(2, 1, bias=False)
    learner = Learner(network, torch.optim.SGD(network.parameters(), 1.0), "model", "sgd")
    before = network.weight.detach().clone()
    loss = (network.weight * torch.tensor([gradient])).sum()
    assert update(SimpleNamespace(world_size=1), loss, learner, Clock())
    torch.testing.assert_close(before - network.weight.detach(), torch.tensor([moved]))


def poison(monkeypatch, first):
    """Let the loss of every step from `first` on be NaN."""
    original = supervised.reconstruction_terms

    def poisoned(output, scan, config, phase):
        poisoned.step += 1
        terms = original(output, scan, config, phase)
        return {k: v * float("nan") for k, v in terms.items()} if poisoned.step > first else terms

    poisoned.step = 0
    monkeypatch.setattr(supervised, "reconstruction_terms", poisoned)


def test_nan_ends_the_run_with_the_last_good_state(scans, tmp_path, monkeypatch):
    fit(tiny(scans, tmp_path / "good", steps=2, optimizer__schedule="constant"))
    poison(monkeypatch, 2)
    with pytest.raises(TrainingDiverged, match=r"3 steps in a row .* up to step 5"):
        fit(tiny(scans, tmp_path / "bad", steps=9, optimizer__schedule="constant"))
    good, bad = weights(tmp_path / "good"), weights(tmp_path / "bad")
    assert all(torch.isfinite(v).all() for v in bad.values())
    name = "model.sr.conv_in.weight"
    assert torch.equal(good[name], bad[name])


def test_one_bad_step_is_stepped_over(scans, tmp_path, monkeypatch):
    poison(monkeypatch, 3)
    fit(tiny(scans, tmp_path, steps=5))
    assert read_checkpoint(tmp_path)[1].bad == 2
    assert all(torch.isfinite(v).all() for v in weights(tmp_path).values())


def test_full_disk_keeps_the_previous_checkpoint(scans, tmp_path, opened_run):
    run = opened_run(tiny(scans, tmp_path))
    run.state.step = 1
    run.save()
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    run.state.step = 2
    message = r"not written .*previous checkpoint is kept"
    with largest_file(len(before) // 2), pytest.raises(CheckpointError, match=message):
        run.save()
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_fixed_points_that_do_not_settle_raise_the_alarm(scans, tmp_path, capsys):
    config = tiny(
        scans, tmp_path, steps=1, fixed_point__max_iterations=1, fixed_point__residual_alarm=1e-3
    )
    fit(config)
    (row,) = read_log(tmp_path)
    assert row["residual"] > 1e-3
    assert row["iterations"] == 1
    assert "running residual" in row["alarm"]
    assert "fixed points do not settle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer__batch": 64}, r"\d training scans, optimizer.batch is 64"),
        ({"data": "nowhere"}, "nowhere: no such file"),
        ({"model": "jrrs"}, "unknown model 'jrrs', did you mean 'jrsr'"),
        ({"model": "cg-sense+bicubic"}, "has nothing to train"),
        ({"model": "cg-sense+bicubic", "fixed_point__warm_start": True}, "has nothing to train"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"model": "jrsr-dc", "patch__size": 20}, "patch.size is for jrsr and t2net"),
        (
            {"loss__per": 1.0, "loss__perceptual__network": "vgg19"},
            "give loss.perceptual.file=FILE",
        ),
        (
            {
                "loss__per": 1.0,
                "loss__perceptual__network": "squeezenet",
                "loss__perceptual__file": "none.safetensors",
            },
            "none.safetensors: no such file",
        ),
        ({"start__init": "nowhere.json"}, "nowhere.json"),
        ({"start__grow_from": "nowhere.json"}, "nowhere.json"),
        ({"loss__pix": 0.0, "loss__rec": 0.0}, "jrsr has no loss to train .* loss.pix 0, loss.r"),
        ({"loss__pix": 0.0, "loss__rec": 1.0, "model": "sr"}, "sr has no loss .* loss.rec 1"),
        (
            {"loss__pix": 0.0, "loss__rec": 1.0, "model": "cg-sense+medsrgan+dc"},
            r"cg-sense\+medsrgan\+dc has no loss .* loss.rec 1",
        ),
        (
            {"loss__pix": 0.0, "loss__rec": 1.0, "phases__recon": 0.5},
            "jrsr has no loss to train its last phase with: loss.pix 0, loss.rec 1, loss.per 0",
        ),
        (
            {"start__init": "a.json", "start__grow_from": "b.json"},
            "start.init is a.json and start.grow_from b.json",
        ),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(scans, tmp_path, changes, message):
    with pytest.raises((ValueError, OSError), match=message) as caught:
        fit(tiny(**({"data": scans, "out": tmp_path} | changes)))
    assert "\n" not in str(caught.value)


def test_a_folder_of_another_run_is_refused(scans, tmp_path):
    fit(tiny(scans, tmp_path / "a", steps=1))
    with pytest.raises(UsageError, match="run with model jrsr, the recipe says jrsr-dc"):
        fit(tiny(scans, tmp_path / "a", model="jrsr-dc"))
    with pytest.raises(CheckpointError, match=r"rec.prox.* is \(.*, the recipe.s model has"):
        fit(tiny(scans, tmp_path / "b", preset="compact", start__init=str(tmp_path / "a")))
    (tmp_path / "a" / "checkpoint.safetensors").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match="not a checkpoint of ours, or cut off"):
        fit(tiny(scans, tmp_path / "a", steps=2))


def test_reconstruction_of_another_run_is_taken_and_frozen(scans, tmp_path):
    fit(tiny(scans, tmp_path / "a", steps=3, optimizer__learning_rate=1e-2))
    fit(tiny(scans, tmp_path / "b", phases__recon=0.5, start__recon_from=str(tmp_path / "a")))
    a, b = (part(weights(tmp_path / name), "average") for name in "ab")
    same = {key for key, value in b.items() if torch.equal(value, a[key])}
    assert same >= {k for k in b if k.startswith("rec.")}
    assert "sr.conv_up.weight" not in same
    assert [r["phase"] for r in read_log(tmp_path / "b")] == ["full"] * 4


@pytest.mark.parametrize("model", ["recon+sr+dc", "modl+medsrgan+dc"])
def test_a_system_with_consistency_trains_its_parts_in_turn(scans, tmp_path, model):
    """A reconstruction of another run with +dc is taken, and frozen after its phase."""
    fit(tiny(scans, tmp_path / "a", model=model, steps=2, phases__recon=1.0))
    start = {"phases__recon": 0.5, "start__recon_from": str(tmp_path / "a")}
    fit(tiny(scans, tmp_path / "b", model=model, optimizer__learning_rate=1e-2, **start))
    a, b = (part(weights(tmp_path / name), "average") for name in "ab")
    same = {key.split(".")[1] for key, value in b.items() if torch.equal(value, a[key])}
    moved = {key.split(".")[1] for key, value in b.items() if not torch.equal(value, a[key])}
    recon, upsample = ("rec", "sr") if model.startswith("recon") else ("recon", "upsample")
    assert recon in same - moved and moved == {upsample, "log_tau0", "log_tau1"}


def test_a_run_goes_on_without_what_it_started_from(scans, tmp_path):
    fit(tiny(scans, tmp_path / "a", steps=3, optimizer__learning_rate=1e-2))
    digest = weights_sha256(str(tmp_path / "a"))
    starts = {"start__init": str(tmp_path / "a"), "log__checkpoint_minutes": 0.0}
    config = tiny(scans, tmp_path / "b", steps=4, **starts)
    fit(changed(config, steps=2, optimizer__schedule="constant"))
    fit(tiny(scans, tmp_path / "a", steps=4, optimizer__learning_rate=1e-2))  # the source goes on
    fit(changed(config, steps=3, optimizer__schedule="constant"))
    shutil.rmtree(tmp_path / "a")
    fit(changed(config, optimizer__schedule="constant"))
    facts = json.loads((tmp_path / "b" / "config.json").read_text())
    assert facts["init_sha256"] == digest
    assert read_checkpoint(tmp_path / "b")[1].step == 4
    card = WeightsCard.read(export(tmp_path / "b", tmp_path / "weights"))
    assert card.training["init_sha256"] == digest
    with pytest.raises((ValueError, OSError), match="a: "):
        fit(changed(config, out=str(tmp_path / "c")))


def test_a_run_does_not_go_on_with_other_data(scans, images, tmp_path):
    fit(tiny(scans, tmp_path / "run", steps=1))
    moved = tmp_path / "moved"
    shutil.copytree(scans, moved)
    fit(tiny(moved, tmp_path / "run", steps=2))
    other = tmp_path / "other"
    open_folder([images], other, Acquisition("brain-5x", n_coils=5))
    with pytest.raises(
        UsageError, match=r"run with data .*moved \(\w+\), the recipe says .*other \("
    ) as caught:
        fit(tiny(other, tmp_path / "run", steps=3))
    assert "\n" not in str(caught.value)
    assert read_checkpoint(tmp_path / "run")[1].step == 2


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("protocol", "wall-16x", "brain-5x"),
        ("scans.truth_maps", "acs", "full"),
        ("scans.n_coils", 5, 4),
        ("scans.hr_limit", 64, 0),
    ],
)
def test_a_prepared_folder_is_not_what_the_recipe_says(scans, tmp_path, key, value, found):
    with pytest.raises(ValueError, match=f"prepared with {key} {found}, recipe: {value}"):
        fit(tiny(scans, tmp_path, steps=1, **{key: value}))


def test_the_card_says_how_the_scans_were_made(fixed_batch, tmp_path):
    fit(tiny(fixed_batch("wall-16x"), tmp_path, steps=1))  # the recipe says nothing
    card = WeightsCard.read(export(tmp_path, tmp_path / "weights"))
    assert (card.range["protocol"], card.range["n_coils"]) == ("wall-16x", (4, 4))
    assert (
        not {"protocol", "scans.truth_maps", "scans.hr_limit", "scans.n_coils"}
        & card.training.keys()
    )
    facts = json.loads((tmp_path / "config.json").read_text())
    assert (facts["protocol"], facts["scans.n_coils"]) == ("wall-16x", 4)


@pytest.mark.parametrize("model", ["recon", "jrsr", "recon+dc", "jrsr+dc"])
def test_kept_fixed_points_come_closer_at_every_visit(scans, tmp_path, model, opened_run):
    # Nothing learns, so every visit goes on where the last one stopped.
    changes = {
        "fixed_point__warm_start": True,
        "fixed_point__first_iterations": 3,
        "fixed_point__later_iterations": 3,
    }
    run = opened_run(tiny(scans, tmp_path, model=model, steps=1, **changes))
    torch.manual_seed(3)
    rec, _ = run.networks.model.parts()
    for parameter in rec.prox.conv_out.parameters():
        parameter.data.normal_(std=0.02)
    ((names, scan),) = run.batches()
    residuals = [float(run.predict(names, scan)[0].residual.max().detach()) for _ in range(6)]
    assert all(now < before for before, now in pairwise(residuals)), residuals
    assert residuals[-1] < 0.1 * residuals[0]


def test_kept_points_and_new_scans_share_a_batch(scans, tmp_path, opened_run):
    run = opened_run(tiny(scans, tmp_path, model="recon", steps=1, fixed_point__warm_start=True))
    ((names, scan),) = run.batches()
    run.predict(names, scan)
    kept = run.points.points.pop(names[0])
    assert kept.shape[-2:] == scan.target.shape[-2:]
    start, n_iter = run.points.start(names, scan)
    assert n_iter == run.points.first
    assert torch.equal(start[1:], run.points.points[names[1]])
    zero_filled = scan.zero_filled()
    torch.testing.assert_close(sinc_interpolate(start[:1], zero_filled.shape[-2:]), zero_filled[:1])


@pytest.mark.parametrize("told", ["gradient", "implicit", "", None])
def test_a_run_keeps_the_data_step_of_its_day(scans, tmp_path, told, monkeypatch):
    step = {"gradient": "gradient", None: "gradient"}.get(told, "implicit")
    fit(tiny(scans, tmp_path, steps=1, fixed_point__data_step=step))
    path = tmp_path / "config.json"
    facts = json.loads(path.read_text())
    assert facts["fixed_point.data_step"] == step
    facts.pop("fixed_point.data_step")
    path.write_text(json.dumps(facts if told is None else facts | {"data_step": told}))
    assert averaged_model(tmp_path)[0].rec.data_step == step
    fit(tiny(scans, tmp_path, steps=2, fixed_point__data_step=step))


def test_the_presets_data_step_is_written_as_what_it_is(scans, tmp_path):
    fit(tiny(scans, tmp_path, steps=1))
    facts = json.loads((tmp_path / "config.json").read_text())
    assert facts["fixed_point.data_step"] == averaged_model(tmp_path)[0].rec.data_step == "implicit"
    fit(tiny(scans, tmp_path, steps=2))


def test_a_run_folder_with_the_former_keys_is_exported_and_continued(scans, tmp_path):
    fit(tiny(scans, tmp_path / "run", steps=1))
    path = tmp_path / "run" / "config.json"
    former = {key: name for name, key in FORMER_KEYS.items()}
    facts = {former.get(k, k): v for k, v in json.loads(path.read_text()).items()}
    assert {"gamma_pix", "learning_rate", "data_step"} <= facts.keys()
    path.write_text(json.dumps(facts | {"clip_norm": 1.0, "bad_steps": 3}))
    card = WeightsCard.read(export(tmp_path / "run", tmp_path / "weights"))
    assert card.training["optimizer.batch"] == card.training["samples_seen"] == 2
    assert not {"clip_norm", "batch", "n_coils"} & card.training.keys()
    fit(tiny(scans, tmp_path / "run", steps=2))
    assert read_checkpoint(tmp_path / "run")[1].step == 2
    with pytest.raises(UsageError, match=r"run with loss.discriminator.norm batch"):
        fit(tiny(scans, tmp_path / "run", steps=2, loss__discriminator__norm="group"))


def test_init_starts_from_the_average_of_a_run(scans, tmp_path, opened_run):
    fit(tiny(scans, tmp_path / "a", steps=3, optimizer__learning_rate=1e-2))
    run = opened_run(tiny(scans, tmp_path / "b", start__init=str(tmp_path / "a")))
    name = "sr.conv_in.weight"
    expected = weights(tmp_path / "a")[f"average.{name}"]
    assert torch.equal(run.networks.model.state_dict()[name], expected)


def test_a_larger_preset_begins_as_a_trained_smaller_one(scans, tmp_path):
    fit(tiny(scans, tmp_path / "a", steps=3, optimizer__learning_rate=1e-2))
    changes = {"preset": "compact", "start__grow_from": str(tmp_path / "a"), "steps": 1}
    fit(tiny(scans, tmp_path / "b", **changes))
    card = WeightsCard.read(export(tmp_path / "b", tmp_path / "weights"))
    assert card.training["grow_from_sha256"] == weights_sha256(str(tmp_path / "a"))
    assert "start.grow_from" not in card.training
    small, large = (averaged_model(tmp_path / name)[0] for name in "ab")
    grown = large.sr.conv_up.weight[:8, :8]
    torch.testing.assert_close(grown, small.sr.conv_up.weight, rtol=0, atol=1e-3)
    with pytest.raises(CheckpointError, match=r"rec.prox.conv_in is \(8, .*, was \(32,"):
        fit(tiny(scans, tmp_path / "c", start__grow_from=str(tmp_path / "b")))


def test_the_published_iteration_is_trained_and_kept_apart(scans, tmp_path):
    fit(tiny(scans, tmp_path / "a", steps=1, fixed_point__data_step="gradient"))
    card = export(tmp_path / "a", tmp_path / "weights")
    assert WeightsCard.read(card).architecture["rec"]["data_step"] == "gradient"
    assert not load_weights(card)[0].rec.is_implicit
    for source in (card, tmp_path / "a"):
        with pytest.raises(CheckpointError, match=r"data_step is gradient, the .* has implicit"):
            fit(tiny(scans, tmp_path / "b", steps=1, start__init=str(source)))
    with pytest.raises(
        UsageError, match=r"run with fixed_point.data_step gradient, the recipe says"
    ):
        fit(tiny(scans, tmp_path / "a", steps=2))
    with pytest.raises(
        ValueError, match=r"fixed_point.data_step is 'newton', known: , gradient, implicit"
    ):
        tiny(scans, tmp_path / "c", fixed_point__data_step="newton")


def test_the_card_says_which_weights_a_run_started_from(scans, tmp_path):
    fit(tiny(scans, tmp_path / "a", steps=1))
    first = WeightsCard.read(export(tmp_path / "a", tmp_path / "weights"))
    fit(
        tiny(
            scans, tmp_path / "b", steps=1, start__init=str(tmp_path / "weights" / "jrsr_tiny.json")
        )
    )
    second = WeightsCard.read(export(tmp_path / "b", tmp_path / "further"))
    assert "init_sha256" not in first.training
    assert second.training["init_sha256"] == first.sha256 != second.sha256


def test_a_share_of_the_weights_a_run_started_from_can_be_kept(scans, tmp_path):
    fit(tiny(scans, tmp_path / "a", steps=1))
    start = export(tmp_path / "a", tmp_path / "start")
    fit(tiny(scans, tmp_path / "b", steps=2, start__init=str(start), optimizer__learning_rate=1e-2))
    cards = {s: export(tmp_path / "b", tmp_path / str(s), start_share=s) for s in (0.0, 0.25)}
    first, last, mixed = (
        load_weights(card)[0].state_dict() for card in (start, cards[0.0], cards[0.25])
    )
    assert any((first[key] - last[key]).abs().max() > 1e-3 for key in first)
    for key in first:
        expected = 0.25 * first[key] + 0.75 * last[key]
        torch.testing.assert_close(mixed[key], expected, rtol=2e-3, atol=1e-5)  # fp16 files
    assert WeightsCard.read(cards[0.25]).training["start_share"] == 0.25
    assert "start_share" not in WeightsCard.read(cards[0.0]).training


def test_no_share_of_weights_that_are_not_what_a_run_started_from(scans, tmp_path):
    fit(tiny(scans, tmp_path / "a", steps=1))
    with pytest.raises(ValueError, match="needs a run that started from weights"):
        export(tmp_path / "a", tmp_path / "w", start_share=0.5)
    start = export(tmp_path / "a", tmp_path / "start")
    fit(tiny(scans, tmp_path / "b", steps=1, start__init=str(start)))
    with pytest.raises(ValueError, match="start_share is 1, a share is"):
        export(tmp_path / "b", tmp_path / "w", start_share=1.0)
    fit(tiny(scans, tmp_path / "a", steps=2))
    with pytest.raises(FileExistsError, match=r"jrsr_tiny\.json exists, --overwrite replaces it"):
        export(tmp_path / "a", tmp_path / "start")
    export(tmp_path / "a", tmp_path / "start", overwrite=True)
    with pytest.raises(ValueError, match=r"sha256 is .*, was"):
        export(tmp_path / "b", tmp_path / "w", start_share=0.5)
    assert not (tmp_path / "w").exists()


def judge(image, truth):
    """PSNR and SSIM of scikit-image."""
    x, t = (magnitude.double().numpy() for magnitude in (image, truth))
    peak = t.max()
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return (
        reference.peak_signal_noise_ratio(t, x, data_range=peak),
        reference.structural_similarity(t, x, data_range=peak, **window),
    )


def scan_of(truth):
    """A scan of a truth ``(1, y, x)``, of which only the truth matters."""
    ny, nx = truth.shape[-2:]
    return TrainingScan(
        kspace=torch.zeros(1, 1, ny // 2, nx // 2) + 0j,
        csm=torch.ones(1, 1, ny, nx) + 0j,
        mask=torch.ones(ny // 2, nx // 2),
        target=truth + 0j,
        lr_target=torch.zeros(1, ny // 2, nx // 2) + 0j,
        noise_std=torch.zeros(1),
    )


def test_validation_is_the_mean_over_its_scans(scans, tmp_path, monkeypatch):
    rng = torch.Generator().manual_seed(0)
    truths, errors = torch.rand(2, 3, 1, 24, 20, generator=rng)
    images = truths + torch.tensor([0.1, 0.2, 0.3])[:, None, None, None] * errors
    named = [(str(number), scan_of(truth)) for number, truth in enumerate(truths)]
    monkeypatch.setattr("training.runs.validate.validation_scans", lambda *_: named)
    shown = iter(images)

    def model(*_):
        return ModelOutput(next(shown), torch.zeros(()))

    model.n_maps = 1
    device = torch.device("cpu")
    found, _ = validate(model, tiny(scans, tmp_path), scans, Manifest.read(scans), device)
    figures = [judge(i[0], t[0]) for i, t in zip(images, truths, strict=True)]
    assert np.ptp(figures, axis=0).min() > 0.01
    psnr, ssim = np.mean(figures, axis=0)
    expected = {"val_psnr": psnr, "val_ssim": ssim, "val_slices": 3}
    assert found == pytest.approx(expected, rel=1e-5)


def test_validation_and_pictures(scans, tmp_path):
    pytest.importorskip("tensorboard")
    config = tiny(
        *(scans, tmp_path),
        **{
            "steps": 2,
            "optimizer__learning_rate": 1e-2,
            "log__validate_every": 2,
            "log__tensorboard": True,
            "loss__perceptual__network": "gradient",
        },
        loss__per=0.1,
    )
    fit(config)
    row = read_log(tmp_path)[-1]
    model, figures = averaged_model(tmp_path)[0], []
    for _, scan in validation_scans(config, scans, Manifest.read(scans)):
        with torch.no_grad():
            figures.append(judge(predict(model, scan)[0], scan.target[0].abs()))
    assert (row["val_psnr"], row["val_ssim"]) == pytest.approx(np.mean(figures, 0), rel=1e-4)
    assert row["val_perceptual"] > 0
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    assert b"val_psnr" in content
    assert b"PNG" in content


def note_dtype(monkeypatch, owner, name, seen):
    """Note the type of what a method returns."""
    original = getattr(owner, name)

    def noted(self, x):
        y = original(self, x)
        seen.add(y.dtype)
        return y

    monkeypatch.setattr(owner, name, noted)


def test_bfloat16_reaches_the_networks_and_not_the_physics(
    scans, tmp_path, monkeypatch, opened_run
):
    networks, physics = set(), set()
    note_dtype(monkeypatch, ResidualDenseBlock, "forward", networks)
    note_dtype(monkeypatch, SenseOperator, "gram", physics)
    run = opened_run(tiny(scans, tmp_path, steps=1, machine__precision="bf16-mixed"))
    for names, scan in run.batches():
        output, truth = run.predict(names, scan)
        (output.image - truth.target.abs()).abs().mean().backward()
    assert networks == {torch.bfloat16}
    assert physics == {torch.complex64}
    without = [n for n, p in run.networks.model.named_parameters() if p.grad is None]
    assert not without, "the weights cast for the solve must not be used again"


@pytest.mark.slow
def test_compiled_networks_give_the_same(scans, tmp_path):
    fit(tiny(scans, tmp_path / "plain", steps=2))
    fit(tiny(scans, tmp_path / "compiled", steps=2, machine__compile="eager"))
    plain, compiled = (weights(tmp_path / n) for n in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()
    for key, value in plain.items():
        assert torch.allclose(value, compiled[key], atol=1e-5), key
