"""`jrsr recon --model X` for every system of the paper, on a 2-D and on a 3-D scan."""

import h5py
import numpy as np
import pytest
import torch

from jrsr_core.models.names import has_weights
from jrsr_core.models.registry import build_model
from jrsr_core.reconstruction import contradiction
from jrsr_core.weights.save import save_weights
from tests.helpers.commands import assert_one_line, jrsr

FAILED = 1
SYSTEMS = (
    *("jrsr", "jrsr-dc", "sr", "recon", "recon-sr", "recon+sr", "recon+sr-sft", "t2net"),
    *(
        f"{recon}+{sr}"
        for recon in ("cg-sense", "modl", "dl-espirit")
        for sr in ("bicubic", "medsrgan", "bebygan")
    ),
)


@pytest.fixture(autouse=True)
def untrained_images_are_delivered(monkeypatch):
    """Images of untrained networks contradict the measurement; here they are delivered."""
    monkeypatch.setattr(contradiction, "EXCESS", float("inf"))


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """Tiny untrained weights of every system, or of its parts."""
    folder = tmp_path_factory.mktemp("cards")
    torch.manual_seed(0)
    for name in {part for system in SYSTEMS for part in _parts(system)}:
        if has_weights(name):
            save_weights(build_model(name, preset="tiny"), folder, name, "tiny")
    return folder


def _parts(system):
    return [system] if system.startswith("recon+") else system.split("+")


def _as_text(system, cards):
    return "+".join(
        str(cards / f"{part}_tiny.json") if has_weights(part) else part for part in _parts(system)
    )


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A brain-5x slice and a wall-16x volume, both small."""
    from gadget.cli import main as cli

    folder = tmp_path_factory.mktemp("scans")
    flat, volume = folder / "flat.h5", folder / "volume.h5"
    common = ["--matrix", "72x64", "--coils", "4"]
    assert cli.run(["simulate", "-o", str(flat), *common, "--acs", "10"]) == 0
    wall = ["--protocol", "wall-16x", "--positions", "3", "--acs", "12"]
    assert cli.run(["simulate", "-o", str(volume), *wall, *common]) == 0
    return flat, volume


def _images(path):
    with h5py.File(path, "r") as file:
        return np.asarray(file["dataset/image_1/data"])


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_reconstructs(system, cards, scans, tmp_path, capfd):
    text = _as_text(system, cards)
    for scan in scans:
        out = tmp_path / f"out_{scan.stem}.h5"
        outcome = jrsr(capfd, "recon", scan, "-o", out, "--model", text)
        assert outcome.code == 0, outcome.err
        image = _images(out)
        assert np.isfinite(image).all() and image.std() > 0


def test_systems_differ_and_consistency_is_a_switch(scans, tmp_path, capfd):
    images = {}
    for text in ("cg-sense+bicubic", "cg-sense+bicubic-naive", "cg-sense+bicubic+dc"):
        out = tmp_path / "out.h5"
        assert jrsr(capfd, "recon", scans[0], "-o", out, "--model", text, "--overwrite").code == 0
        images[text] = _images(out)
    first, *others = images.values()
    assert all(not np.allclose(first, other, rtol=1e-3) for other in others)


def test_weights_of_both_parts_as_a_property(cards, scans, tmp_path, capfd):
    text = _as_text("modl+medsrgan", cards)
    by_card, by_name = tmp_path / "card.h5", tmp_path / "name.h5"
    assert jrsr(capfd, "recon", scans[0], "-o", by_card, "--model", text).code == 0
    arguments = ("--model", "modl+medsrgan", "--set", f"weights={text}")
    assert jrsr(capfd, "recon", scans[0], "-o", by_name, *arguments).code == 0
    np.testing.assert_array_equal(_images(by_card), _images(by_name))


@pytest.mark.parametrize("model", ["zero-filled+medsrgan", "zero-filled+bebygan"])
def test_without_weights_one_line_says_so(model, scans, tmp_path, capfd):
    outcome = jrsr(capfd, "recon", scans[0], "-o", tmp_path / "out.h5", "--model", model)
    assert_one_line(outcome, FAILED, "no weights for", "there are: jrsr-dc_compact", "name a card")
    assert not list(tmp_path.iterdir())
