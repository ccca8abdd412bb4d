"""The jrsr-train command: a complete round, and failures in one line."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import training
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.weights.load import load_weights
from tests.helpers.commands import assert_one_line, jrsr
from tests.helpers.image_stacks import write_damaged_stack
from training import commands
from training.cli import main
from training.data.manifest import Acquisition
from training.data.prepare import open_folder
from training.data.variety.ranges import Variety
from training.errors import TrainingDiverged, UsageError

from .conftest import write_images

RECIPE = Path(training.__file__).parent / "recipes" / "brain-5x-jrsr.yaml"
AXES = "expected (n, readout, phase encode)"
ONE_SLICE = np.ones((1, 64, 48))


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; return exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["jrsr-train", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_prepare_fit_export_evaluate_table(run, tmp_path):
    phantom = (255 * brain_phantom((160, 144))).to(torch.uint8).numpy().T
    images = tmp_path / "images.h5"
    with h5py.File(images, "w") as file:
        file["slices"] = np.stack([phantom, phantom])
        file["subject"] = np.array([b"a", b"b"])
    scans = tmp_path / "scans"
    code, out, err = run("prepare", images, "-o", scans, "--scans", 2, "--vary", "--seed", 3)
    assert code == 0, err
    assert "2 train, 1 val, 0 test scans" in out
    recipe = tmp_path / "run.yaml"
    recipe.write_text(
        f"model: jrsr-dc\npreset: tiny\ndata: {scans}\nout: {tmp_path / 'run'}\nsteps: 50\n"
        "device: cpu\noptimizer: {batch: 1}\nmachine: {n_threads: 1}\n"
        "fixed_point: {warm_start: true}\nlog: {validate_every: 50}\n"
    )
    code, out, err = run("fit", recipe, "steps=20", "log.every=20", "log.validate_every=20")
    assert code == 0, err
    assert "step 20 of 20" in out
    assert "val_psnr" in out
    code, out, err = run("export", tmp_path / "run", "-o", tmp_path / "weights")
    assert code == 0, err
    card = tmp_path / "weights" / "jrsr-dc_tiny.json"
    facts = json.loads(card.read_text())
    assert facts["data_sha256"] == json.loads((scans / "manifest.json").read_text())["sha256"]
    assert facts["data"] == "2 scans of 1 subjects from images.h5 (images)"
    assert facts["range"]["n_coils"] == list(Variety().n_coils)
    assert facts["metrics"]["validation"]["val_psnr"] > 5
    assert facts["training"]["samples_seen"] == 20
    assert str(tmp_path) not in card.read_text(), "no places of this machine on a card"
    load_weights(card)
    rows = tmp_path / "rows.csv"
    code, out, err = run("evaluate", "--models", card, "--data", images, "--out", rows)
    assert code == 0, err
    assert str(card) in out
    assert run("table", rows)[1] == out


def test_the_command_of_the_readme_works_as_written(run, tmp_path):
    write_images(tmp_path / "x_train.h5", 4, "aabb")
    write_images(tmp_path / "x_val.h5", 2, "cc")
    keys = ["preset=tiny", "steps=2", f"data={tmp_path}", f"out={tmp_path / 'run'}", "device=cpu"]
    code, out, err = run("fit", RECIPE, *keys, "seed=1")
    assert code == 0, err
    assert "step 2 of 2  loss" in out
    assert "the perceptual loss is gradient; the card will state it" in err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["perceptual_used"] == {"wanted": "vgg19", "used": "gradient", "fallback": True}
    assert run("export", tmp_path / "run", "-o", tmp_path)[0] == 0
    card = json.loads((tmp_path / "jrsr_tiny.json").read_text())
    assert card["training"]["perceptual_used"]["fallback"] is True
    assert len(list((tmp_path / "run" / "scans").glob("*.safetensors"))) >= 4


@pytest.fixture
def recipe(tmp_path, scans):
    path = tmp_path / "r.yaml"
    path.write_text(
        f"model: jrsr\npreset: tiny\ndata: {scans}\nsteps: 1\ndevice: cpu\n"
        "optimizer: {batch: 2}\nlog: {every: 1, tensorboard: false}\n"
    )
    return path


def test_the_weights_of_another_run_are_not_replaced_unasked(run, tmp_path, recipe):
    weights = tmp_path / "w"
    card = weights / "jrsr_tiny.json"
    command = ("fit", recipe, "--export", weights)
    assert run(*command, f"out={tmp_path / 'a'}")[0] == 0
    first = json.loads(card.read_text())
    code, out, err = run(*command, f"out={tmp_path / 'b'}", "seed=1")
    words = f"{card} exists and is not of the run in {tmp_path / 'b'}, --overwrite replaces it"
    assert (code, out, err) == (2, "", f"jrsr-train: {words}\n")
    assert not (tmp_path / "b").exists(), "refused before the training"
    assert json.loads(card.read_text()) == first
    # The run itself goes on and exports again; its settings have to be its own.
    assert run(*command, f"out={tmp_path / 'a'}", "loss.pix=7")[0] == 2
    assert json.loads(card.read_text()) == first
    assert run(*command, f"out={tmp_path / 'a'}", "steps=2")[0] == 0
    second = json.loads(card.read_text())
    assert second["training"]["steps_done"] == 2
    assert second["training"]["run"] == first["training"]["run"]
    assert run(*command, f"out={tmp_path / 'b'}", "seed=1", "--overwrite")[0] == 0
    assert json.loads(card.read_text())["training"]["seed"] == 1


def test_the_figures_on_a_card_are_those_of_its_weights(run, tmp_path, recipe, images):
    for name, seed in (("a", 0), ("b", 1)):
        keys = (f"out={tmp_path / name}", f"seed={seed}")
        assert run("fit", recipe, *keys, "--export", tmp_path / f"w{name}")[0] == 0
    rows = tmp_path / "rows.csv"
    models = f"mine={tmp_path / 'wb' / 'jrsr_tiny.json'},zero-filled+sinc"
    judged = ("evaluate", "--data", images, "--slices", 1, "--out", rows)
    assert run(*judged, "--models", models)[0] == 0
    code, _, err = run("export", tmp_path / "a", "-o", tmp_path / "x", "--rows", rows)
    first = json.loads((tmp_path / "wa" / "jrsr_tiny.json").read_text())["sha256"][:12]
    words = f"{rows}: no row of weights {first}, which go with this card"
    assert (code, err) == (2, f"jrsr-train: {words}\n")
    assert not (tmp_path / "x").exists()
    code, _, err = run("export", tmp_path / "b", "-o", tmp_path / "x", "--rows", rows)
    assert code == 0, err
    metrics = json.loads((tmp_path / "x" / "jrsr_tiny.json").read_text())["metrics"]
    assert list(metrics["brain-5x"]) == ["mine"]
    assert metrics["brain-5x"]["mine"]["slices"] == 1


def data_sets(**content):
    """Return a function that writes an HDF5 file of these data sets; None is a group."""

    def write(path):
        with h5py.File(path, "w") as file:
            for name, values in content.items():
                if values is None:
                    file.create_group(name)
                else:
                    file[name] = values

    return write


@pytest.mark.parametrize(
    ("write", "code", "words"),
    [
        (data_sets(slices=np.ones((8, 6))), 2, f"'slices' is (8, 6), {AXES}"),
        (data_sets(slices=1.0), 2, f"'slices' is (), {AXES}"),
        (data_sets(slices=None), 2, f"'slices' is a group, {AXES}"),
        (
            data_sets(slices=ONE_SLICE, subject=[b"a", b"b"]),
            2,
            "'subject' is (2,), expected (1,): one per slice",
        ),
        (data_sets(images=ONE_SLICE), 2, "no data set 'slices'"),
        (write_damaged_stack, 1, "HDF5 cannot read it, the file may be cut off ("),
        (data_sets(slices=np.nan * ONE_SLICE), 1, "slice 0: values are NaN or infinite: leave it"),
    ],
)
def test_every_command_refuses_an_image_stack_alike(write, code, words, run, tmp_path, capsys):
    path = tmp_path / "stack.H5"
    write(path)
    judge = ("evaluate", "--models", "zero-filled+sinc", "--out", tmp_path / "rows.csv", "--data")
    for command in (
        ("prepare", path, "-o", tmp_path / "scans"),
        (*judge, path),
        (*judge, tmp_path),
    ):
        found, out, err = run(*command)
        assert (found, out, err.count("\n")) == (code, "", 1)
        assert err.startswith(f"jrsr-train: {path}: {words}"), err
    simulated = jrsr(capsys, "simulate", "-o", tmp_path / "scan.h5", "--image", f"{path}:0")
    assert_one_line(simulated, code, f"jrsr: {path}: {words}")
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_in_a_worker_is_one_line(run, tmp_path, recipe):
    path = write_images(tmp_path / "x_train.h5", 2, "aa")
    prepared = tmp_path / "prepared"
    open_folder([path], prepared, Acquisition("brain-5x", n_coils=4))
    with h5py.File(path, "a") as file:
        bad = np.full(file["slices"].shape, np.nan, np.float32)
        del file["slices"]
        file["slices"] = bad
    keys = (f"data={prepared}", f"out={tmp_path / 'run'}", "machine.workers=1")
    code, _, err = run("fit", recipe, *keys)
    assert code == 1 and err.count("\n") == 1, err
    assert err.startswith(f"jrsr-train: {path}: slice ")
    assert err.endswith("values are NaN or infinite: leave it out, or repair it\n")


def test_a_recipe_that_trains_nothing_exports_nothing(run, tmp_path, fixed_batch):
    recipe = tmp_path / "tune.yaml"
    data = fixed_batch("brain-5x")
    recipe.write_text(
        f"model: cg-sense+sinc\npreset: tiny\nloop: tune\nsteps: 1\ndata: {data}\n"
        f"out: {tmp_path / 'tuned'}\n"
    )
    code, _, err = run("fit", recipe, "--export", tmp_path / "w")
    assert code == 2 and err.startswith("jrsr-train: loop is tune, which makes no weights of cg-s")
    with pytest.raises(UsageError, match=r"loop is tune, .* to .*tuned\.json$"):
        training.fit(recipe)
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "missing.yaml"), "missing.yaml: no such file or folder"),
        (("fit",), "Missing argument 'recipe' (see jrsr-train --help)"),
        (("fut",), "No such command 'fut'. Did you mean 'fit'?"),
        (("evaluate", "--models", "resnet", "--data", "x.h5", "--out", "r.csv"), "nearest of"),
        (("tune", "--data", "x.h5", "--protocol", "brain5x"), "did you mean 'brain-5x'?"),
        (("table", "x.csv", "--format", "html"), "format is 'html', known: markdown, latex"),
        (("figure", "--models", "jrsr", "--data", "x.h5", "--out", "f.jpg"), "figures are .png"),
        (("prepare", "empty", "-o", "x"), "empty: no HDF5, NIfTI or DICOM file in this folder"),
        (("fit", "binary.yaml"), "binary.yaml: not a text file, a recipe is YAML"),
        (("fit", RECIPE, "sede=1"), "unknown key 'sede', did you mean 'seed'?"),
        (("fit", RECIPE), "key 'data' is missing (give data=...)"),
        (("prepare", "missing.h5", "-o", "x"), "missing.h5"),
        (("table", "missing.csv"), "missing.csv"),
        (("table", "binary.csv"), "binary.csv: not a text file, this is no CSV of evaluate"),
        (("table", "nul.csv"), "nul.csv: no column 'model', this is no CSV of evaluate"),
        (
            ("evaluate", "--data", "x.h5", "--models", "cg-sense+sinc", "--out", "binary.csv"),
            "binary.csv: this is no CSV of evaluate; choose another",
        ),
        (
            ("evaluate", "--data", "x.h5", "--models", "cg-sense+sinc", "--out", "no/r.csv"),
            "folder no does not exist",
        ),
        (("export", ".", "-o", "w"), "no config.json"),
        (("export", "a.json", "-o", "w"), "a.json is a card, give --rows"),
        (
            ("export", "a.json", "-o", "w", "--rows", "r.csv", "--commit", "0123abc"),
            "a.json is a card, --commit and --start-share are those of a run",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\x89HDF\r\n")
    (tmp_path / "binary.csv").write_bytes(b"\x89HDF\r\n\xff")
    (tmp_path / "empty").mkdir()
    (tmp_path / "nul.csv").write_bytes(b"a\0b\n")
    write_images(tmp_path / "x.h5", 1, "a")
    code, _, err = run(*arguments)
    assert code == 2
    assert err.count("\n") == 1 and err.startswith("jrsr-train: ")
    assert message in err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model=jrss"], "unknown model 'jrss'"),
        (["model=cg-sense+sinc"], "has nothing to train"),
        (
            ["model=t2net", "fixed_point.warm_start=true"],
            "models that state takes_start, t2net does not",
        ),
        (["model=cg-sense+medsrgan", "phases.recon=0.5"], "the reconstruction of cg-sense+med"),
        (["model=sr", "fixed_point.warm_start=true"], "models that state takes_start, sr does not"),
        (["model=t2net", "phases.recon=0.5"], "t2net has no reconstruction and upsampling"),
        (["model=t2net+dc", "phases.recon=0.5"], "t2net+dc has no reconstruction and upsampling"),
        (["model=modl"], "model is modl, a part: train a system, for instance modl+bicubic"),
        (["model=jrsr-dc", "patch.size=24"], "patch.size is for jrsr and t2net"),
        (["patch.size=24", "loss.back=1"], "patch.size is for losses that compare HR images"),
        (["loss.pix=0", "loss.rec=0"], "jrsr has no loss to train its last phase with"),
        (["scans.vary=true"], "scans.vary needs images"),
        (["protocol=wall-16x"], "prepared with protocol brain-5x, recipe: wall-16x"),
        (["optimizer.batch=8"], "2 training scans, optimizer.batch is 8"),
        (["model=dl-espirit+bicubic"], "prepared with 1 map set, dl-espirit+bicubic uses 2"),
        (["optimizer=3"], "optimizer is int, expected a group of keys"),
        (["data=IMAGES", "scans.vary=true", "scans.objects={leafs: 1}"], "did you mean 'leaves'"),
    ],
)
def test_a_recipe_that_contradicts_its_model_or_data_is_wrong_usage(
    run, tmp_path, changes, message
):
    images = [
        write_images(tmp_path / "x_train.h5", 2, "aa"),
        write_images(tmp_path / "x_val.h5", 1, "b"),
    ]
    open_folder(images, tmp_path / "scans", Acquisition("brain-5x"))
    recipe = tmp_path / "run.yaml"
    recipe.write_text("model: jrsr\npreset: tiny\nsteps: 1\noptimizer: {batch: 2}\ndevice: cpu\n")
    here = [f"data={tmp_path / 'scans'}", f"out={tmp_path / 'run'}"]
    changes = [text.replace("IMAGES", str(tmp_path)) for text in changes]
    code, _, err = run("fit", recipe, *here, *changes)
    assert (code, err.count("\n")) == (2, 1) and message in err, err


def test_a_broken_file_is_one_line_and_exit_code_1(run, tmp_path):
    (tmp_path / "images.h5").write_text("text")
    code, _, err = run("prepare", tmp_path / "images.h5", "-o", tmp_path / "x")
    assert (code, err) == (1, "jrsr-train: images.h5: not an HDF5 file, or cut off\n")


@pytest.mark.parametrize("command", [c.callback.__name__ for c in commands.app.registered_commands])
def test_shared_options(run, command):
    code, out, _ = run(command, "-h")
    assert code == 0 and "-q, --quiet" in out and "--version" in out
    code, out, _ = run(command, "--version")
    assert code == 0 and out.startswith("jrsr-train ")


def test_summaries_are_whole(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("--help")
    assert code == 0 and "..." not in out.partition("Commands:")[2]
    assert run()[1] == out


def test_quiet_prints_no_results(run, tmp_path):
    rows = tmp_path / "rows.csv"
    write_images(tmp_path / "x.h5", 1, "a")
    arguments = ("evaluate", "--models", "zero-filled+sinc", "--data", tmp_path / "x.h5")
    assert run(*arguments, "--out", rows, "-q") == (0, "", "")
    assert run("--quiet", "table", rows) == (0, "", "")
    assert "zero-filled+sinc" in run("table", rows)[1]


def test_exit_codes(run, monkeypatch):
    assert run("fit")[0] == 2
    for error, expected in ((TrainingDiverged("gone"), 3), (KeyboardInterrupt(), 130)):

        def fail(error=error, **_):
            raise error

        monkeypatch.setattr(commands, "app", fail)
        assert run("fit", "x")[0] == expected
