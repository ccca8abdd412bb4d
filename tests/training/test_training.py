"""Preparation, loop, export, evaluation on small synthetic data: the loss of a scan falls."""

import csv
import json

import h5py
import numpy as np
import pytest
import torch

from jrsr_core.physics.fourier import fft2c
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import PROTOCOLS
from jrsr_core.weights import load_weights
from training.config import load_recipe
from training.evaluate import BOUND, evaluate, summarise
from training.export import export
from training.prepare import load_scan, prepare, unpack_scan
from training.supervised import RunConfig, fit, learning_rate
from training.tables import markdown
from training.testset import spread
from training.variety import Variety, coarser_pixels, draw_scan, vary_image


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two phantom slices in the layout of the open data (readout first)."""
    path = tmp_path_factory.mktemp("images") / "images.h5"
    phantom = (255 * brain_phantom((136, 144))).to(torch.uint8).numpy().T
    with h5py.File(path, "w") as file:
        file["slices"] = np.stack([phantom, phantom[:, ::-1]])
        file["subject"] = np.array([b"a", b"b"])
    return path


@pytest.fixture(scope="module")
def scans(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    variety = Variety(
        n_coils=(4, 4),
        n_acs=(16, 16),
        hr_size=(64, 112),
        protocol_share=0.0,
        noise_db=(30.0, 30.0),
        margin=(1.2, 1.3),
    )
    assert prepare(images, folder, 2, variety=variety) == 2
    assert prepare(images, folder, 2, variety=variety) == 0
    return folder


def config(scans, out, **changes):
    values = {"model": "jrsr-dc", "preset": "tiny", "scans": str(scans), "out": str(out)}
    values |= {"n_steps": 4, "warmup_steps": 1, "n_threads": torch.get_num_threads()}
    return RunConfig(**(values | changes))


def test_prepared_truth_agrees_with_the_measurement(scans):
    # What is left is the noise of the measurement, within the accuracy of the maps.
    scan = unpack_scan(load_scan(scans / "scan_00000.safetensors"))
    difference = scan.sense(scan.target) - scan.kspace
    n_samples = scan.kspace.shape[1] * float(scan.mask.sum())
    noise = float(scan.noise_std) * n_samples**0.5
    assert 0.8 * noise < float(torch.linalg.vector_norm(difference)) < 1.3 * noise
    zero_filled = scan.sense.at_low_resolution().adjoint(scan.kspace)
    assert float(zero_filled.abs().max()) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("model", ["jrsr", "jrsr-dc"])
def test_loss_of_fixed_scans_falls(scans, tmp_path, model):
    out = tmp_path / model
    fit(config(scans, out, model=model, n_steps=160, learning_rate=3e-3), log_every=20)
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert rows[-1]["residual"] < 0.05


def test_a_run_goes_on_from_its_checkpoint(scans, tmp_path):
    fit(config(scans, tmp_path, n_steps=3), log_every=1)
    model = fit(config(scans, tmp_path, n_steps=5), log_every=1)
    steps = [json.loads(x)["step"] for x in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5]
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_export_and_evaluate(scans, images, tmp_path):
    fit(config(scans, tmp_path / "run", n_steps=2), log_every=1)
    card_path = export(tmp_path / "run", tmp_path / "weights", data="phantoms", commit="abc")
    _, card = load_weights(card_path)
    assert card.training["samples_seen"] == 2
    assert card.data_sha256
    assert card.range["noise_db"] == [30.0, 30.0]
    rows = tmp_path / "rows.csv"
    names = [str(card_path), "cg-sense+sinc", BOUND]
    first = list(evaluate(names, "brain-5x", images, rows, 1))
    assert len(first) == 3
    assert len(list(evaluate(names, "brain-5x", images, rows))) == 3, "the rest, not all again"
    with rows.open() as file:
        assert [r["slice"] for r in csv.DictReader(file)] == ["0"] * 3 + ["1"] * 3
    table = {e["model"]: e for e in summarise(rows)}
    assert table[BOUND]["psnr"][0] > table["cg-sense+sinc"]["psnr"][0]
    text = markdown(rows)
    assert "cg-sense+sinc" in text
    assert text.count("**") >= 2


def test_learning_rate_warms_up_and_ends_low():
    run = config("s", "o", n_steps=1000, warmup_steps=100, learning_rate=1.0)
    rates = [learning_rate(step, run) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[-1] == pytest.approx(0.02, abs=0.001)


def test_spread_is_even_and_complete():
    assert spread(321, 40)[0] == 0
    assert spread(321, 40)[-1] == 320
    assert len(set(spread(321, 40))) == 40
    assert spread(5, None) == [0, 1, 2, 3, 4]


def test_coarser_pixels_keep_intensity_and_band():
    image = brain_phantom((96, 96))
    coarse = coarser_pixels(image, 1.5)
    assert coarse.shape == (64, 64)
    assert float(coarse.mean()) == pytest.approx(float(image.mean()), rel=0.02)
    # Fills its band to the edge: no zero-padded truth.
    edge = fft2c(coarse.to(torch.complex64)).abs()[:, 0].mean()
    assert float(edge) > 1e-3


def test_variety_draws_differ_and_repeat():
    image = brain_phantom((104, 120))
    variety = Variety(hr_size=(64, 96), protocol_share=0.0)

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return draw_scan(image, PROTOCOLS["brain-5x"], variety, generator)

    assert torch.equal(draw(3).full, draw(3).full)
    shapes = {tuple(draw(s).full.shape) for s in range(12)}
    assert len(shapes) > 4
    varied = vary_image(image, variety, torch.Generator().manual_seed(0))
    assert all(n % 2 == 0 for n in varied.shape)
    assert float(varied.max()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: jrsr\nlearning_rat: 1.0", "unknown key 'learning_rat', nearest: learning_rate"),
        ("model: jrsr", "key 'preset' is missing"),
        ("model: 3", "model is int, expected str"),
        ("- a", "a recipe is a mapping, got list"),
    ],
)
def test_bad_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_recipe(path)


def test_shipped_recipes_load():
    from pathlib import Path

    import training

    recipes = sorted((Path(training.__file__).parent / "recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        assert load_recipe(path).n_steps > 0


def test_no_scans_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no prepared scans"):
        fit(config(tmp_path, tmp_path / "out"))
