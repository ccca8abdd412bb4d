"""A full disk for `jrsr-train`: one line that names the file, exit code 1, nothing half written."""

import pytest

from jrsr_core.models.registry import build_model
from jrsr_core.weights.load import load_weights
from jrsr_core.weights.save import save_weights
from tests.helpers.disk import largest_file
from tests.training.test_cli import run  # noqa: F401
from training.evaluation.rows import read_rows
from training.runs import fit

from .conftest import tiny

SYSTEM = ("--models", "zero-filled+bicubic")


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def fails(run, tmp_path):  # noqa: F811
    """Run a command whose files may have this size; it fails at the one of this name."""

    def call(n_bytes, name, *arguments):
        before = contents(tmp_path)
        with largest_file(n_bytes):
            code, out, err = run(*arguments)
        why = "the file is larger than the system allows"
        words = f"jrsr-train: {tmp_path / name} cannot be written: {why}\n"
        assert (code, out, err) == (1, "", words)
        return before, contents(tmp_path)

    return call


def test_prepare(fails, run, images, tmp_path):  # noqa: F811
    command = ("prepare", images, "-o", tmp_path / "scans", "--scans", 2)
    fails(100, "scans/manifest.json", *command)
    assert not contents(tmp_path)
    _, after = fails(20_000, "scans/scan_00000.safetensors", *command)
    assert [p.name for p in after] == ["manifest.json"]
    assert run(*command)[0] == 0, "goes on once there is space"


def test_evaluate(fails, run, images, tmp_path):  # noqa: F811
    rows = tmp_path / "rows.csv"
    command = ("evaluate", *SYSTEM, "--data", images, "--out", rows)
    assert run(*command, "--slices", 2)[0] == 0
    before, after = fails(rows.stat().st_size + 40, "rows.csv", *command)
    assert before == after and len(read_rows(rows)) == 2
    assert run(*command)[0] == 0 and len(read_rows(rows)) == 6


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_figure(fails, images, tmp_path, ending):
    name = f"figure.{ending}"
    (tmp_path / name).write_bytes(b"earlier")
    command = ("figure", *SYSTEM, "--data", images, "--out", tmp_path / name, "--overwrite")
    before, after = fails(5000, name, *command)
    assert before == after


def test_export(fails, scans, tmp_path, tmp_path_factory):
    done = tmp_path_factory.mktemp("run")
    fit(tiny(scans, done, steps=1))
    command = ("export", done, "-o", tmp_path)
    fails(1000, "jrsr_tiny.safetensors", *command)
    assert not contents(tmp_path)


def test_weights_and_card_are_replaced_together(tmp_path):
    """A disk with space for the new weights, but not for their card."""
    card = save_weights(build_model("jrsr", preset="tiny"), tmp_path, "jrsr", "tiny")
    before = contents(tmp_path)
    size = (tmp_path / "jrsr_tiny.safetensors").stat().st_size
    notes = {"training": {"note": "x" * size}}
    with largest_file(size), pytest.raises(OSError, match=r"jrsr_tiny\.json cannot be written"):
        save_weights(build_model("jrsr", preset="tiny"), tmp_path, "jrsr", "tiny", **notes)
    assert contents(tmp_path) == before
    load_weights(card)
