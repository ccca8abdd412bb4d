"""Shipped weights of every row of the paper's tables: whole, of one budget, and those judged."""

import pytest

from jrsr_core.models.names import has_weights
from jrsr_core.models.registry import build_model
from jrsr_core.weights import sets
from jrsr_core.weights.card import WeightsCard
from jrsr_core.weights.find import find_card, find_system
from jrsr_core.weights.load import load_system
from jrsr_core.weights.save import save_weights
from jrsr_core.weights.sets import list_shipped, set_folders
from tests.helpers.paths import ROOT
from training.config.former_keys import with_current_keys
from training.evaluation.export import add_figures
from training.evaluation.paper import ABLATION, COMPARISON, REFERENCES, published_systems
from training.evaluation.rows import read_rows, summarise

RESULTS = ROOT / "training" / "results"
STEPS = {"brain-5x": 1500, "wall-16x": 600}
PAPER = (*ABLATION, *COMPARISON, "jrsr", "jrsr-dc")
FINE_TUNED_STEPS = 600
FINE_TUNED = (
    *("jrsr", "recon+sr", "recon-sr", "recon+sr-sft", "sr"),
    *(f"{r}+{u}" for r in ("modl", "dl-espirit", "cg-sense") for u in ("medsrgan", "bebygan")),
)
"""Rows of the set brain-5x-gan: all with an SR network."""

ROWS = [(p, name) for p in STEPS for name in PAPER if has_weights(name)]


@pytest.mark.parametrize("protocol, name", ROWS)
def test_every_row_has_weights_of_one_budget(protocol, name):
    system = load_system(f"{name}@{protocol}")
    (card,) = system.cards
    assert card.model == system.name == name
    # The two parts of Recon-SR are trained one after the other.
    n_trainings = 2 if name == "recon-sr" else 1
    training = with_current_keys(card.training)
    assert training["steps"] == n_trainings * STEPS[protocol]
    assert training["optimizer.batch"] == 1 and training["optimizer.learning_rate"] == 4e-4
    assert training["phases.psnr"] == 1.0
    assert card.commit and "+" not in card.commit
    assert card.range["protocol"] == protocol


@pytest.mark.parametrize("name", FINE_TUNED)
def test_rows_of_the_papers_losses_go_on_from_pixel_weights_at_one_budget(name):
    (card,) = load_system(f"{name}@brain-5x-gan").cards
    (pixels,) = load_system(f"{name}@brain-5x").cards
    training = with_current_keys(card.training)
    assert training["init_sha256"] == pixels.sha256
    assert training["steps"] == FINE_TUNED_STEPS
    assert training["optimizer.batch"] == 1 and training["optimizer.learning_rate"] == 5e-4
    assert training["phases.psnr"] == 0.0 and training["loss.adv"] > 0
    assert card.training["perceptual_used"]["used"] == "vgg16"
    assert card.commit and "+" not in card.commit
    assert card.range["protocol"] == "brain-5x"
    before, after = pixels.own_metrics["brain-5x"], card.own_metrics["brain-5x"]
    largest_loss = 1.2 if name.endswith("bebygan") else 0.8
    assert after["lpips"] < before["lpips"] and after["psnr"] > before["psnr"] - largest_loss


def test_every_row_of_the_papers_losses_is_listed():
    found = {n.split("@")[0] for n in list_shipped() if n.endswith("@brain-5x-gan")}
    assert found == set(FINE_TUNED)


@pytest.mark.parametrize("chosen", [*STEPS, "brain-5x-gan"])
def test_figures_of_the_cards_are_those_of_these_weights(chosen):
    path, protocol = RESULTS / f"{chosen}_published_rows.csv", chosen.removesuffix("-gan")
    judged = {}
    for row in read_rows(path):
        assert row["protocol"] == protocol
        judged.setdefault(row["model"], set()).add(row["weights_sha256"])
    means = {entry["model"]: entry for entry in summarise(path)}
    rows = FINE_TUNED if chosen.endswith("-gan") else [n for p, n in ROWS if p == protocol]
    for name in (f"{row}@{chosen}" for row in rows):
        card = list_shipped()[name]
        assert judged[name] == {card.sha256[:12]}, name
        figures = card.own_metrics[protocol]
        assert figures["psnr"] == pytest.approx(means[name]["psnr"][0], abs=6e-4)
        assert figures["lpips"] == pytest.approx(means[name]["lpips"][0], abs=6e-5)


@pytest.mark.parametrize("protocol", STEPS)
def test_the_rows_of_a_system_are_of_one_commit_and_of_all_slices(protocol):
    """The systems of a table share theirs, but for default weights that were trained on."""
    path = RESULTS / f"{protocol}_published_rows.csv"
    commits = {}
    for row in read_rows(path):
        commits.setdefault(row["model"], set()).add(row["commit"])
    assert all(len(own) == 1 for own in commits.values())
    further = commits.pop("jrsr-dc")
    (commit,) = set().union(*commits.values())
    assert all(c and "+" not in c for c in (commit, *further))
    judged = {entry["model"]: entry["slices"] for entry in summarise(path)}
    rows = {n for n in published_systems(protocol) if not n.endswith("-gan")}
    assert judged == dict.fromkeys(rows, 321)


def test_figures_are_added_without_a_change_of_the_weights(tmp_path):
    source = find_card("modl+bicubic", "compact", *set_folders("brain-5x"))
    before = WeightsCard.read(source)
    rows = RESULTS / "brain-5x_published_rows.csv"
    card = WeightsCard.read(add_figures(source, tmp_path, rows))
    assert card == before
    card = WeightsCard.read(add_figures(source, tmp_path, rows, data="others", overwrite=True))
    assert card == before.model_copy(update={"data": "others"})
    path = save_weights(load_system("sr").model, tmp_path, "sr", "compact")
    with pytest.raises(ValueError, match="no row of weights"):
        add_figures(path, tmp_path / "other", RESULTS / "wall-16x_published_rows.csv")


def test_a_further_set_of_a_protocol_has_its_rows_beside_the_others(tmp_path, monkeypatch):
    for chosen in ("", "brain-5x", "brain-5x-gan", "wall-16x"):
        for name in ("recon", "sr"):
            save_weights(build_model(name, preset="tiny"), tmp_path / chosen, name, "tiny")
    monkeypatch.setattr(sets, "shipped_folder", lambda: tmp_path)
    assert sets.weight_sets() == ("brain-5x", "brain-5x-gan", "wall-16x")
    systems = [name for name in published_systems("brain-5x") if name not in REFERENCES]
    assert systems == [
        *("sr@brain-5x", "sr@brain-5x-gan", "recon@brain-5x", "recon@brain-5x-gan"),
        *("recon", "sr"),
    ]
    assert find_system("sr@brain-5x-gan") == (tmp_path / "brain-5x-gan" / "sr_tiny.json",)
