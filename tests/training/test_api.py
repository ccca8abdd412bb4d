"""Training from Python, own networks, and images made elsewhere."""

import shutil

import h5py
import numpy as np
import pytest
import torch

import jrsr_core as jrsr
import training
from jrsr_core.models import names, registry
from jrsr_core.models.interfaces import UpsampleModel
from jrsr_core.weights.card import CardError
from tests.helpers.commands import write_small_scan
from tests.helpers.networks import SCALED
from tests.training.conftest import SIZE
from training.application import run_command
from training.commands import app
from training.data.testset import find_slices
from training.evaluation.evaluate import scan_slice
from training.evaluation.other_images import OtherImages
from training.evaluation.rows import read_rows

OWN = f"""{SCALED}
import jrsr_core as jrsr

jrsr.register_model("scaled", Scaled)
"""


pytestmark = pytest.mark.usefixtures("own_networks")


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "my_net.py"
    path.write_text(OWN)
    return path


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "model: cg-sense+scaled\npreset: tiny\nsteps: 3\n"
        "optimizer: {batch: 1, learning_rate: 0.05, ema: 0.0}\n"
        "log: {every: 1, tensorboard: false}\n"
    )
    return path


def train(arguments, capsys):
    capsys.readouterr()
    code = run_command(app, [str(a) for a in arguments])
    return code, capsys.readouterr()


def test_an_own_network_is_trained_exported_and_loaded(images, recipe, tmp_path, own):
    exec(OWN, {})
    rows = []
    run = training.fit(
        recipe, data=images, out=tmp_path / "run", changes={"steps": 4}, on_row=rows.append
    )
    assert run.steps == 4 and repr(run) == f"FinishedRun(cg-sense+scaled, 4 steps, {run.folder})"
    assert [row["step"] for row in run.log] == [row["step"] for row in rows] == [1, 2, 3, 4]
    gain = run.model.upsample.gain.item()
    assert gain > 0.55
    card = run.export(tmp_path / "weights")
    assert card.name == "cg-sense+scaled_tiny.json"
    model = jrsr.load_model(card, accept_contradictions=True)
    assert model.model.upsample.gain.item() == pytest.approx(gain, abs=1e-3)
    write_small_scan(tmp_path / "scan.h5")
    assert model(jrsr.read_scan(tmp_path / "scan.h5")[0]).report.model == "cg-sense+scaled"
    again = training.fit(recipe, data=images, out=tmp_path / "run", changes={"steps": 4})
    assert again.model.upsample.gain.item() == gain


def test_a_card_of_a_network_that_is_not_registered(images, recipe, tmp_path, own):
    exec(OWN, {})
    card = training.fit(recipe, data=images, out=tmp_path / "run").export(tmp_path)
    del names.OWN["scaled"], registry.UPSAMPLES["scaled"]
    with pytest.raises(CardError, match=r"unknown model 'cg-sense\+scaled'.*register_model"):
        jrsr.load_model(card)


def test_the_commands_take_own_networks(images, recipe, tmp_path, own, capsys):
    weights = tmp_path / "weights"
    given = ("--network", own)
    changes = (f"data={images}", f"out={tmp_path / 'run'}")
    code, printed = train(("fit", recipe, *changes, "--export", weights, *given), capsys)
    assert code == 0, printed.err
    card = weights / "cg-sense+scaled_tiny.json"
    models = ("--models", f"mine={card},cg-sense+bicubic")
    judged = ("--data", images, "--out", tmp_path / "rows.csv", "--slices", 2)
    code, printed = train(("evaluate", *models, *judged, *given), capsys)
    assert code == 0, printed.err
    assert [row["model"] for row in read_rows(tmp_path / "rows.csv")] == [
        "mine", "cg-sense+bicubic", "mine", "cg-sense+bicubic",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, words",
    [(None, ("no such file",)), ("import nothing_of_this_name", ("ModuleNotFoundError",))],
)
def test_files_of_networks_that_fail_are_named(tmp_path, recipe, capsys, text, words):
    path = tmp_path / "net.py"
    if text:
        path.write_text(text)
    code, printed = train(("fit", recipe, "--network", path), capsys)
    assert code == 2 and len(printed.err.splitlines()) == 1
    assert all(word in printed.err for word in (f"--network {path}", *words))


def test_names_and_kinds_of_own_networks():
    with pytest.raises(ValueError, match=r"name is 'jrsr', which is a model of this package"):
        jrsr.register_model("jrsr", UpsampleModel)
    with pytest.raises(ValueError, match=r"name is 'a\+b', expected lower-case letters"):
        jrsr.register_model("a+b", UpsampleModel)
    with pytest.raises(TypeError, match=r"net is built as a Identity, expected one of JointModel"):
        jrsr.register_model("net", torch.nn.Identity)
    jrsr.register_model("net", UpsampleModel)
    assert isinstance(jrsr.build_model("net"), UpsampleModel)
    assert jrsr.build_model("modl+net+dc", preset="tiny").model.upsample.__class__ is UpsampleModel
    jrsr.register_model("net", jrsr.JointModel)
    assert isinstance(jrsr.build_model("net"), jrsr.JointModel)
    with pytest.raises(ValueError, match=r"unknown model 'modl\+net'"):
        jrsr.build_model("modl+net")
    with pytest.raises(ValueError, match=r"did you mean 'net'"):
        jrsr.build_model("nets")


def test_wrong_recipes_are_named(tmp_path, recipe, images):
    with pytest.raises(ValueError, match=r"changes: unknown key 'step', did you mean 'steps'"):
        training.fit(recipe, data=images, changes={"step": 1})
    with pytest.raises(ValueError, match=r"recipe\.yaml: key 'data' is missing \(give data="):
        training.fit(recipe)
    with pytest.raises(ValueError, match="this is not a training folder"):
        training.FinishedRun(tmp_path)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = training.nothing


# Images made elsewhere.


@pytest.fixture
def truths(images):
    return {a: scan_slice(a, "brain-5x").scan.truth.numpy() for a in find_slices(images, 2)}


def test_images_made_elsewhere_are_judged_beside_the_systems(images, truths, tmp_path, capsys):
    arrays, stack = tmp_path / "arrays", tmp_path / "stack"
    arrays.mkdir(), stack.mkdir()
    worse = {a: t + 0.1 * t.max() for a, t in truths.items()}
    for a, image in worse.items():
        np.save(arrays / f"{a.file}_{a.index}.npy", image * np.exp(0.3j))
    with h5py.File(stack / f"{a.file}.h5", "w") as file:
        shape = next(iter(worse.values())).T.shape
        file["slices"] = np.stack([
            next((1.001 * t.T for a, t in truths.items() if a.index == i), np.zeros(shape))
            for i in range(6)
        ])  # fmt: skip
    out = tmp_path / "rows.csv"
    judged = ("--data", images, "--out", out, "--slices", 2)
    given = ("--images", f"mine={arrays}", "--images", stack)
    code, printed = train(("evaluate", *judged, *given, "--models", "cg-sense+bicubic"), capsys)
    assert code == 0, printed.err
    rows = {row["model"]: row for row in read_rows(out)}
    assert float(rows["mine"]["psnr"]) == pytest.approx(20.0, abs=1e-3)
    assert float(rows["stack"]["nmse"]) == pytest.approx(1e-6, abs=1e-6)
    assert rows["mine"]["kspace_residual"] == rows["mine"]["seconds_total"] == ""
    assert "mine" in printed.out and "cg-sense+bicubic" in printed.out
    # Other images under the same label are refused.
    np.save(arrays / "more.npy", np.zeros(2))
    code, printed = train(("evaluate", *judged, *given), capsys)
    assert code != 0 and "rows of mine have weights" in printed.err


@pytest.mark.parametrize("factor", [-1, 1j])
def test_the_image_of_another_program_is_judged_by_its_magnitude(factor, truths, tmp_path):
    """Like the image of a system, whose values below zero do not become 0."""
    address, truth = next(iter(truths.items()))
    np.save(tmp_path / f"{address.file}_{address.index}.npy", factor * truth)
    image = OtherImages("mine", tmp_path)(scan_slice(address, "brain-5x"))
    assert np.array_equal(image.magnitude.numpy(), truth)


def test_other_images_have_the_layout_of_an_image_stack(images, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    stack = tmp_path / "mine" / images.name
    with h5py.File(stack, "w") as file:
        file["slices"] = np.ones(SIZE)
    judged = ("--data", images, "--out", tmp_path / "rows.csv", "--slices", 1)
    code, printed = train(("evaluate", *judged, "--images", tmp_path / "mine"), capsys)
    expected = f"{stack}: 'slices' is {SIZE}, expected (n, readout, phase encode)"
    assert (code, printed.err.splitlines()[-1]) == (2, f"jrsr-train: {expected}")


def test_images_on_the_scale_of_the_file_are_refused(images, tmp_path, capsys):
    """The file has 0 to 255, the truth a maximum of 1."""
    (tmp_path / "mine").mkdir()
    shutil.copy(images, tmp_path / "mine" / images.name)
    judged = ("--data", images, "--out", tmp_path / "rows.csv", "--slices", 1)
    code, printed = train(("evaluate", *judged, "--images", tmp_path / "mine"), capsys)
    assert code == 1 and "times as bright as the truth, whose largest value is 1:" in printed.err


@pytest.mark.parametrize(
    "files, words",
    [
        (None, "no such folder"),
        ({}, r"no images (.h5, .npy) in this folder"),
        ({"other_0.npy": (4, 4)}, "no stack_0.npy and no stack.h5"),
        ({"stack_0.npy": (4, 4)}, "image is (4, 4), truth is"),
        ({"stack_0.npy": SIZE}, "image is 0 times as bright as the truth"),
    ],
)
def test_images_that_are_missing_or_do_not_fit_are_named(images, tmp_path, capsys, files, words):
    folder = tmp_path / "mine"
    if files is not None:
        folder.mkdir()
        for name, shape in files.items():
            np.save(folder / name, np.zeros(shape))
    judged = ("--data", images, "--out", tmp_path / "rows.csv", "--slices", 1)
    code, printed = train(("evaluate", *judged, "--images", folder), capsys)
    assert code in (1, 2) and len(printed.err.splitlines()) == 1
    assert words in printed.err and "mine" in printed.err
