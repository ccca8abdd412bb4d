"""Cards and weights: round trip, and refusal of everything that does not match."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from jrsr_core.models.registry import build_model
from jrsr_core.reconstruction import load
from jrsr_core.weights.card import CardError, WeightsCard
from jrsr_core.weights.find import find_card
from jrsr_core.weights.load import load_weights
from jrsr_core.weights.save import save_weights
from jrsr_core.weights.sets import cards_in, shipped_folder


@pytest.fixture
def card(tmp_path):
    torch.manual_seed(0)
    return save_weights(build_model("jrsr-dc", preset="tiny"), tmp_path, "jrsr-dc", "tiny")


def edit(card, **changes):
    values = json.loads(card.read_text()) | changes
    card.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))


def test_round_trip_is_float16_exact(card):
    torch.manual_seed(0)
    source = build_model("jrsr-dc", preset="tiny").state_dict()
    loaded, _ = load_weights(card)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, source[name].to(torch.float16).to(torch.float32)), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "sha256 is .* the card states 000000000000"),
        ({"preset": "compact"}, "architecture differs in 'rec'"),
        ({"model": "jrsr"}, "architecture differs in 'rec'"),
        ({"model": "resnet"}, "unknown model 'resnet'"),
        ({"file": "other.safetensors"}, "other.safetensors: weights of jrsr-dc tiny are missing"),
        ({"file": "../x.safetensors"}, "must lie beside the card"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"sha256": None}, "field 'sha256' is missing"),
        ({"model": 3}, "model is 3, expected text"),
        ({"sha256": "ABC"}, r"sha256 is 'ABC', expected text of the form \^"),
        ({"modell": "x"}, "unknown field 'modell', did you mean 'model'"),
        ({"range": {"n_coil": [4, 32]}}, "unknown field 'range.n_coil', did you mean 'n_coils'"),
        ({"range": {"n_coils": [32, 4]}}, r"range.n_coils is \[32, 4\], .* smaller number first"),
        ({"range": {"noise_db": [18, "x"]}}, "range.noise_db.1 is 'x', expected a number"),
        ({"range": {"noise_db": [18, float("nan")]}}, "range.noise_db.1 is nan"),
        ({"range": [1]}, r"range is \[1\], expected an object"),
        ({"metrics": {"a": {"b": {"c": "good"}}}}, "not of numbers alone: a.b.c is 'good'"),
        ({"training": 3}, "training is 3, expected an object"),
    ],
)
def test_a_card_that_does_not_match_is_refused(card, changes, message):
    edit(card, **changes)
    with pytest.raises(CardError, match=message):
        load_weights(card)


def test_only_a_card_of_an_unknown_model_names_the_registration_of_own_networks(card):
    own = "(an own network is registered by register_model, or declared by its package)"
    for changes, is_own in (({"model": "resnet"}, True), ({"preset": "unknown model"}, False)):
        edit(card, **changes)
        with pytest.raises(CardError, match=r"^jrsr-dc_tiny\.json: unknown ") as caught:
            load_weights(card)
        assert str(caught.value).endswith(own) == is_own
        edit(card, model="jrsr-dc")


def test_the_name_of_a_system_is_no_card(tmp_path):
    text = "jrsr-dc: no such weights card, a file *.json; load_model takes the name of a system"
    with pytest.raises(CardError, match=f"^{re.escape(text)}$"):
        load_weights("jrsr-dc")
    path = tmp_path / "none.json"
    with pytest.raises(CardError, match=f"^{re.escape(str(path))}: no such weights card$"):
        load_weights(path)


def test_a_card_without_a_data_step_means_the_gradient(card):
    values = json.loads(card.read_text())
    del values["architecture"]["rec"]["data_step"]
    edit(card, architecture=values["architecture"])
    assert load_weights(card)[0].rec.data_step == "gradient"
    values["architecture"]["rec"]["data_step"] = "newton"
    edit(card, architecture=values["architecture"])
    with pytest.raises(CardError, match="data_step is 'newton'"):
        load_weights(card)


def test_a_card_of_jrsr_dc_without_a_refinement_has_one_pass(card):
    values = json.loads(card.read_text())
    assert values["architecture"].pop("refinement") is False
    edit(card, architecture=values["architecture"])
    assert load_weights(card)[0].refinement is None


@pytest.mark.parametrize("n_blocks", [0, 3])
def test_a_refinement_is_kept_by_its_card(n_blocks, tmp_path):
    model = build_model("jrsr-dc", preset="tiny", refinement=True, refinement_blocks=n_blocks)
    path = save_weights(model, tmp_path, "jrsr-dc", "tiny")
    loaded, card = load_weights(path)
    assert card.architecture["refinement"] is True
    assert card.architecture["refinement_blocks"] == n_blocks
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float()), name


@pytest.fixture
def refined(tmp_path):
    """A card of two passes, whose SR modules have one block and two."""
    model = build_model("jrsr-dc", preset="tiny", refinement=True, refinement_blocks=2)
    return save_weights(model, tmp_path, "jrsr-dc", "tiny")


@pytest.mark.parametrize("stated", [True, -1, 10**9, 2.0, "2", None])
def test_a_number_of_blocks_that_cannot_be_is_refused(refined, stated):
    values = json.loads(refined.read_text())["architecture"]
    edit(refined, architecture=values | {"refinement_blocks": stated})
    text = rf"architecture differs in 'refinement_blocks': card {stated}, model 0"
    with pytest.raises(CardError, match=text):
        load_weights(refined)


def test_blocks_of_a_refinement_without_it_are_refused(refined):
    values = json.loads(refined.read_text())["architecture"]
    edit(refined, architecture=values | {"refinement": False})
    with pytest.raises(CardError, match=r"refinement_blocks is 2, but refinement is false"):
        load_weights(refined)


def test_a_refinement_without_a_number_of_blocks_has_those_of_the_first_pass(refined):
    values = json.loads(refined.read_text())["architecture"]
    del values["refinement_blocks"]
    edit(refined, architecture=values)
    with pytest.raises(CardError, match=r"'refinement.sr.trunk.1.* the model has None"):
        load_weights(refined)


def test_damaged_files_are_refused(card):
    weights = card.with_name("jrsr-dc_tiny.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CardError, match="sha256"):
        load_weights(card)
    card.write_text("{")
    with pytest.raises(CardError, match="not a JSON card"):
        load_weights(card)
    card.write_text("[]")
    with pytest.raises(CardError, match="JSON object"):
        load_weights(card)
    with pytest.raises(CardError, match="no such weights card"):
        load_weights(card.with_name("nothing.json"))


def test_wrong_tensors_are_named(card):
    import hashlib

    weights = card.with_name("jrsr-dc_tiny.safetensors")
    tensors = {k: v.clone() for k, v in load_file(weights).items()}  # the file is mapped
    for change, message in (
        ({"rec.rho": torch.zeros(2)}, "'rec.rho' is \\(2,\\), the model has \\(\\)"),
        ({"extra": torch.zeros(1)}, "'extra' is \\(1,\\), the model has None"),
        ({"rec.rho": torch.tensor(float("nan"))}, "'rec.rho' is not finite"),
    ):
        save_file(tensors | change, weights)
        edit(card, sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
        with pytest.raises(CardError, match=message):
            load_weights(card)


def test_find_card_names_what_there_is(card):
    assert find_card("jrsr-dc", "tiny", card.parent) == card
    with pytest.raises(CardError, match="no weights for jrsr in preset auto; there are: jrsr-dc"):
        find_card("jrsr", "auto", card.parent)


@pytest.mark.parametrize(
    ("preset", "there", "taken"),
    [
        ("auto", ("compact", "paper", "tiny"), "compact"),
        ("auto", ("paper", "tiny"), "paper"),
        ("largest", ("compact", "paper", "tiny"), "paper"),
        ("largest", ("compact", "tiny"), "compact"),
        ("tiny", ("compact", "tiny"), "tiny"),
    ],
)
def test_the_first_preset_there_is(preset, there, taken, tmp_path):
    for name in there:
        (tmp_path / f"jrsr_{name}.json").touch()
    assert find_card("jrsr", preset, tmp_path).name == f"jrsr_{taken}.json"


@pytest.mark.parametrize(
    ("device", "given", "expected"),
    [("cpu", "auto", "auto"), ("cuda", "auto", "largest"), ("cuda", "compact", "compact")],
)
def test_a_gpu_takes_the_largest(device, given, expected, monkeypatch):
    class Asked(Exception):
        pass

    def asked(model, *, preset, weights):
        raise Asked(preset)

    monkeypatch.setattr(load, "pick_device", lambda _: torch.device(device))
    monkeypatch.setattr(load, "load_system", asked)
    with pytest.raises(Asked, match=f"^{expected}$"):
        load.load_model("jrsr", preset=given)


def test_shipped_weights_are_whole_and_complete():
    cards = {(c.model, c.preset): c for c in map(WeightsCard.read, cards_in(shipped_folder()))}
    assert {("jrsr", "compact"), ("jrsr-dc", "compact")} <= set(cards)
    for shipped in cards.values():
        assert shipped.verified_bytes(shipped_folder())
        assert shipped.metrics, shipped.file
        assert shipped.training["samples_seen"] > 0
        assert shipped.commit
        assert shipped.data


def test_a_refused_card_is_one_line_with_the_name_of_the_file(card):
    edit(card, range={"masks": [["full", "x\n\x1b[2J"]]})
    with pytest.raises(CardError) as caught:
        load_weights(card)
    text = r"jrsr-dc_tiny.json: range.masks.0.1 is 'x\n\x1b[2J', expected a number"
    assert str(caught.value) == text


def test_a_card_that_could_not_be_read_is_not_written(tmp_path):
    model = build_model("jrsr-dc", preset="tiny")
    with pytest.raises(CardError, match=r"card not written, data is 'a.nb', expected one line"):
        save_weights(model, tmp_path, "jrsr-dc", "tiny", data="a\nb")
    assert not list(tmp_path.glob("*.json"))


def test_a_figure_that_did_not_vary_is_a_range(card):
    edit(card, range={"n_coils": 8})
    assert WeightsCard.read(card).range == {"n_coils": (8, 8)}


def test_published_cards_read_and_write_the_same(tmp_path):
    cards = [
        *shipped_folder().glob("*.json"),
        *shipped_folder().glob("*/*.json"),
    ]
    assert len(cards) > 30
    for path in cards:
        WeightsCard.read(path).write(tmp_path / "card.json")
        assert json.loads((tmp_path / "card.json").read_text()) == json.loads(path.read_text())
