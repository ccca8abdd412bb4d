"""Published weights of the rows of the paper's tables: whole, of one budget, and those judged."""

from pathlib import Path

import pytest

from jrsr_core.reconstruction.load import load_reconstructor
from jrsr_core.weights.card import WeightsCard
from tests.helpers.paths import ROOT
from training.config.former_keys import with_current_keys
from training.evaluation.rows import read_rows

RESULTS = ROOT / "training" / "results"
STEPS = {"brain-5x": 1500, "wall-16x": 600, "wall-16x_1200": 600}
"""Of the last training; the rows of ``wall-16x_1200`` start from those of ``wall-16x``."""
CARDS = sorted((RESULTS / "weights").glob("*/*.json"))


def row_of(card: Path) -> str:
    """Return the name of the row: jrsr of ``jrsr_compact.json``."""
    return card.stem.removesuffix("_compact")


@pytest.mark.parametrize("path", CARDS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_weights_are_those_of_their_card(path):
    recon = load_reconstructor(str(path), device="cpu")
    (card,) = recon.cards
    assert card.model == row_of(path) == recon.name
    # The two parts of Recon-SR are trained one after the other.
    n_trainings = 2 if recon.name == "recon-sr" else 1
    training = with_current_keys(card.training)
    assert training["steps"] == n_trainings * STEPS[path.parent.name]
    assert training["optimizer.batch"] == 1 and training["optimizer.learning_rate"] == 4e-4
    assert training["phases.psnr"] == 1.0
    assert card.commit and "+" not in card.commit


@pytest.mark.parametrize("path", [p for p in CARDS if p.parent.name == "wall-16x_1200"])
def test_longer_training_went_on_from_the_published_weights(path):
    before = WeightsCard.read(path.parents[1] / "wall-16x" / path.name)
    assert WeightsCard.read(path).training["init_sha256"] == before.sha256


@pytest.mark.parametrize(
    "folder, n_rows", [("brain-5x", 16), ("wall-16x", 16), ("wall-16x_1200", 2)]
)
def test_figures_are_of_these_weights(folder, n_rows):
    judged = {}
    for row in read_rows(RESULTS / f"{folder}_published_rows.csv"):
        assert row["protocol"] == folder.removesuffix("_1200")
        judged.setdefault(row["model"], set()).add(row["weights_sha256"])
    trained = {name: hashes for name, hashes in judged.items() if hashes != {""}}
    cards = {row_of(path): path for path in CARDS if path.parent.name == folder}
    assert trained.keys() == cards.keys()
    assert len(trained) == n_rows
    for name, hashes in trained.items():
        assert hashes == {WeightsCard.read(cards[name]).sha256[:12]}, name
