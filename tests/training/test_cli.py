"""The jrsr-train command: a complete round on two scans, and failures in one line."""

import h5py
import numpy as np
import pytest
import torch

from jrsr_core.simulation.phantoms import brain_phantom
from training.cli import main


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
        file["slices"] = np.stack([phantom])
    code, out, err = run("prepare", images, "-o", tmp_path / "scans", "--scans", 2)
    assert code == 0, err
    assert "2 new scans" in out
    recipe = tmp_path / "run.yaml"
    recipe.write_text(
        f"model: jrsr-dc\npreset: tiny\nscans: {tmp_path / 'scans'}\n"
        f"out: {tmp_path / 'run'}\nn_steps: 50\nn_threads: 1\n"
    )
    code, out, err = run("fit", recipe)
    assert code == 0, err
    assert "step 50 of 50" in out
    code, out, err = run("export", tmp_path / "run", "-o", tmp_path / "weights", "--data", "me")
    assert code == 0, err
    card = tmp_path / "weights" / "jrsr-dc_tiny.json"
    assert card.exists()
    rows = tmp_path / "rows.csv"
    code, out, err = run("evaluate", "--models", card, "--data", images, "--out", rows)
    assert code == 0, err
    assert str(card) in out
    assert run("table", rows)[1] == out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "missing.yaml"), "missing.yaml"),
        (("table", "missing.csv"), "missing.csv"),
        (("export", ".", "-o", "w", "--data", "x"), "no config.json"),
    ],
)
def test_failures_are_one_line(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments)
    assert code == 1
    assert err.count("\n") == 1
    assert message in err
