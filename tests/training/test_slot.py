"""A slot: trained by minutes, exported, compared on both protocols, never worse weights kept."""

from pathlib import Path

import pytest

from jrsr_core.weights.load import load_weights
from tests.training.conftest import write_images
from training import commands, slot
from training.application import run_command
from training.runs.budget import Stopwatch
from training.runs.process import Stopped
from training.slot import Comparison, best_card, next_slot, run_slot, slot_config

RECIPE = "model: jrsr-dc\npreset: tiny\nsteps: 2\ndevice: cpu\n"
RECIPE += "optimizer: {batch: 2}\nlog: {tensorboard: false}\n"


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    return path


def test_better_weights_only(recipe, images, scans, tmp_path, monkeypatch):
    folder = tmp_path / "slots"
    folder.mkdir()
    test = write_images(tmp_path / "x_test.h5", 2, "ab")
    changes = [f"data={scans}"]
    first, found = run_slot(recipe, folder, test, changes, 2)
    assert first == folder / "slot-001" / "weights" / "jrsr-dc_tiny.json"
    assert set(found.new) == set(slot.PROTOCOLS) and not found.before and found.is_better
    assert best_card(folder) == first
    # The second starts from the first and is judged beside it, on the same slices.
    second, found = run_slot(recipe, folder, test, changes, 2)
    assert load_weights(second)[1].training["init_sha256"] == load_weights(first)[1].sha256
    assert set(found.before) == set(slot.PROTOCOLS)
    # Better in one protocol alone is not enough.
    best = best_card(folder)
    for psnr, is_kept in ((25.0, False), (25.2, True)):
        found = Comparison(
            {"brain-5x": 31.0, "wall-16x": psnr}, {"brain-5x": 30.0, "wall-16x": 25.1}
        )
        monkeypatch.setattr(slot, "compare", lambda *_, found=found: found)
        made, _ = run_slot(recipe, folder, test, changes, 2)
        assert best_card(folder) == (made if is_kept else best) and made.exists() and best.exists()


def test_the_command_trains_on_varied_scans_and_prints_both_figures(
    recipe, tmp_path, monkeypatch, capsys
):
    asked = []

    def run(*arguments):
        asked.extend(arguments)
        return Path("new.json"), Comparison({"brain-5x": 31.0}, {"brain-5x": 30.5})

    monkeypatch.setattr(slot, "run_slot", run)
    arguments = ["slot", str(recipe), str(tmp_path), "--train", "IMAGES", "device=cpu"]
    assert run_command(commands.app, [*arguments, "--val", str(recipe), "--minutes", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("brain-5x: 31.000 dB, before 30.500 dB\nnew.json: the best so far; ")
    path, folder, val, changes, n_slices, watch = asked
    assert (path, folder, val, n_slices) == (recipe, tmp_path, recipe, 40)
    config = slot_config(path, tmp_path / "slot-001", None, changes)
    assert (config.data, config.minutes, config.device) == ("IMAGES", 2.0, "cpu")
    assert config.scans.vary and config.scans.truth_maps == "acs"
    assert watch.elapsed > 0


def test_a_slot_without_a_result_to_compare_is_refused_before_it_trains(recipe, tmp_path, capsys):
    arguments = ["slot", str(recipe), str(tmp_path / "slots"), "--train", "IMAGES", "--val"]
    assert run_command(commands.app, [*arguments, str(tmp_path / "missing.h5")]) == 2
    assert "missing.h5' does not exist" in capsys.readouterr().err
    recipe.write_text(RECIPE.replace("jrsr-dc", "cg-sense+sinc") + "loop: tune\n")
    assert run_command(commands.app, [*arguments, str(recipe)]) == 2
    assert "loop is tune, which makes no weights" in capsys.readouterr().err
    assert not (tmp_path / "slots").exists()


def test_is_better():
    assert Comparison({"a": 2.0, "b": 2.0}, {"a": 1.0, "b": 1.9}).is_better
    assert not Comparison({"a": 2.0, "b": 2.0}, {"a": 2.0, "b": 1.9}).is_better


def test_slots_are_numbered(tmp_path):
    assert next_slot(tmp_path).name == "slot-001"
    (tmp_path / "slot-009").mkdir()
    assert next_slot(tmp_path).name == "slot-010"


def test_the_first_slot_grows_and_later_ones_continue(tmp_path):
    recipe = Path(slot.__file__).parent / "recipes" / "jrsr-dc_paper.yaml"
    first = slot_config(recipe, tmp_path, None, ["data=d"])
    assert first.start.grow_from.endswith("jrsr-dc_compact.json") and not first.start.init
    later = slot_config(recipe, tmp_path, Path("best.json"), ["data=d"])
    assert later.start.init == "best.json" and not later.start.grow_from


def test_a_slot_without_a_step_changes_nothing(recipe, images, scans, tmp_path, monkeypatch):
    folder = tmp_path / "slots"
    folder.mkdir()

    def stopped(*_):
        raise Stopped(0)

    monkeypatch.setattr(slot, "compare", lambda *_: pytest.fail("untrained weights are compared"))
    changes = [f"data={scans}", "minutes=0.01"]
    late = Stopwatch(began=0.0)
    with pytest.raises(ValueError, match="no step was over before the deadline"):
        run_slot(recipe, folder, images, changes, 2, late)
    monkeypatch.setattr(slot, "fit", stopped)
    with pytest.raises(Stopped):
        run_slot(recipe, folder, images, changes, 2)
    assert best_card(folder) is None
