"""Published weights of the rows of the paper's tables: whole, of one budget, and those judged."""

from pathlib import Path

import pytest

from jrsr_core.pipeline import load_reconstructor
from jrsr_core.weights import WeightsCard
from training.rows import read_rows

RESULTS = Path(__file__).parents[2] / "training" / "results"
CARDS = sorted((RESULTS / "weights" / "brain-5x").glob("*.json"))
LABELS = {path.stem.removesuffix("_compact"): path for path in CARDS}


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_weights_are_those_of_their_card(path):
    recon = load_reconstructor(str(path), device="cpu")
    (card,) = recon.cards
    assert card.model == path.stem.removesuffix("_compact") == recon.name
    assert card.training["steps"] in (1500, 3000) and card.training["batch"] == 1
    assert card.training["learning_rate"] == 4e-4 and card.training["psnr_share"] == 1.0
    assert card.commit and "+" not in card.commit


def test_figures_are_of_these_weights():
    judged = {}
    for row in read_rows(RESULTS / "brain-5x_published_rows.csv"):
        judged.setdefault(row["model"], set()).add(row["weights_sha256"])
    trained = {name: hashes for name, hashes in judged.items() if hashes != {""}}
    assert trained.keys() == LABELS.keys()
    assert len(trained) == 16
    for name, hashes in trained.items():
        assert hashes == {WeightsCard.read(LABELS[name]).sha256[:12]}, name
