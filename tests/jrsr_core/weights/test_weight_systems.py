"""From the text of `--model` to a system: names, cards, two cards, and what is refused."""

import pytest
import torch

from jrsr_core.models.registry import build_model
from jrsr_core.weights.card import CardError, WeightsCard
from jrsr_core.weights.find import find_card, find_system, system_name
from jrsr_core.weights.load import load_system
from jrsr_core.weights.save import save_weights
from jrsr_core.weights.sets import SEPARATOR, list_shipped, names_in_sets, shipped_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Untrained tiny weights of parts and systems; the folder's own name has a "+" in it."""
    path = tmp_path_factory.mktemp("a+b")
    torch.manual_seed(0)
    for name in ("modl", "medsrgan", "modl+medsrgan", "t2net", "t2net+dc"):
        save_weights(build_model(name, preset="tiny"), path, name, "tiny")
    return path


def card(folder, name):
    return str(folder / f"{name}_tiny.json")


def test_two_cards_make_one_system(folder):
    system = load_system(f"{card(folder, 'modl')}+{card(folder, 'medsrgan')}")
    assert system.name == "modl+medsrgan"
    assert [c.model for c in system.cards] == ["modl", "medsrgan"]
    assert system.cards[0].sha256 != system.cards[1].sha256
    _assert_state(system.model.recon, load_system(f"{card(folder, 'modl')}+sinc").model.recon)
    assert not system.model.training


def _assert_state(a, b):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def test_one_card_of_the_whole_system(folder):
    system = load_system(card(folder, "modl+medsrgan"))
    assert system.name == "modl+medsrgan" and len(system.cards) == 1
    assert set(system.cards[0].architecture) == {"modl", "medsrgan"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cg-sense+{medsrgan}", "cg-sense+medsrgan"),
        ("{modl}+bicubic", "modl+bicubic"),
        ("{modl}+{medsrgan}+dc", "modl+medsrgan+dc"),
        ("{t2net}+dc", "t2net+dc"),
        ("{t2net+dc}", "t2net+dc"),
        ("cg-sense+bicubic-naive", "cg-sense+bicubic-naive"),
    ],
)
def test_names_and_cards_mix(folder, text, name):
    for part in ("t2net+dc", "modl+medsrgan", "modl", "medsrgan", "t2net"):
        text = text.replace("{" + part + "}", card(folder, part))
    assert load_system(text).name == system_name(text) == name


def test_weights_for_a_name(folder):
    both = f"{card(folder, 'modl')}+{card(folder, 'medsrgan')}"
    assert load_system("modl+medsrgan", weights=both).name == "modl+medsrgan"
    assert load_system("t2net", weights=card(folder, "t2net")).name == "t2net"
    dc = load_system("t2net+dc", weights=card(folder, "t2net"))
    assert dc.name == "t2net+dc"
    with pytest.raises(ValueError, match="give only one of set and card"):
        find_system("t2net@wall-16x", weights=card(folder, "t2net"))
    with pytest.raises(CardError, match="card is for modl\\+medsrgan, model asked for is t2net"):
        find_system("t2net", weights=both)


def test_systems_without_weights_are_refused_in_one_line():
    text = r"no weights for modl\+sinc in preset auto; there are: jrsr-dc"
    with pytest.raises(CardError, match=text):
        find_system("modl+sinc")
    with pytest.raises(CardError, match="no weights for t2net in preset paper") as caught:
        find_system("t2net", preset="paper")
    assert "\n" not in str(caught.value)


def test_a_name_takes_the_first_weights_and_a_set_its_own():
    root = shipped_folder()
    assert find_system("jrsr-dc") == (root / "jrsr-dc_compact.json",)
    assert find_system("t2net") == (root / "brain-5x" / "t2net_compact.json",)
    for chosen in ("brain-5x", "wall-16x"):
        for name in ("jrsr-dc", "t2net", "modl+medsrgan", "recon-sr"):
            expected = (root / chosen / f"{name}_compact.json",)
            assert find_system(f"{name}@{chosen}") == expected
    (path,) = find_system("t2net+dc@wall-16x")
    assert path == root / "wall-16x" / "t2net_compact.json"
    assert load_system("t2net+dc@wall-16x").name == system_name("t2net+dc@wall-16x") == "t2net+dc"


def test_two_names_of_a_system_with_a_set_in_its_path(folder):
    # "@" of a path is no set.
    path = folder / "me@home"
    path.mkdir()
    for name in ("t2net_tiny.json", "t2net_tiny.safetensors"):
        (path / name).write_bytes((folder / name).read_bytes())
    assert load_system(str(path / "t2net_tiny.json")).name == "t2net"


def test_shipped_systems_are_listed_by_the_name_that_selects_them():
    listed = list_shipped()
    assert list(listed)[:2] == ["jrsr-dc", "jrsr"]
    for name, card in listed.items():
        (path,) = find_system(name)
        assert WeightsCard.read(path) == card
        assert card.own_metrics, name
    assert sorted(names_in_sets()) == sorted(name for name in listed if SEPARATOR in name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modl", "modl is a part, a system has two, for instance modl\\+bicubic"),
        ("medsrgan", "medsrgan is a part, a system has two, for instance cg-sense\\+medsrgan"),
        ("{modl}", "is a card for the part modl, write for instance .*json\\+bicubic"),
        ("{medsrgan}+{modl}", "the first part is one of zero-filled, .*, got medsrgan"),
        ("{modl}+cg-sense", "the second part is one of sinc, .*, got cg-sense"),
        ("{t2net}+bicubic", "the first part is one of .*, got t2net"),
        ("{modl}+nowhere.json", "nowhere.json: no such weights card"),
        ("nowhere+there.json", "nowhere\\+there.json: no such weights card"),
        ("modl+bicubik", "unknown model 'modl\\+bicubik', did you mean 'modl\\+bicubic'"),
        ("jrsr-dc+dc", "leave out \\+dc"),
        ("jrsr@wall-16", "no set of weights 'wall-16', did you mean 'wall-16x'"),
        ("jrsr@", "unknown model 'jrsr@'"),
        ("cg-sense+bicubic@wall-16x", "has no weights, leave out @wall-16x"),
        (f"{find_card('jrsr-dc')}+dc", "leave out \\+dc"),
    ],
)
def test_what_is_refused(folder, text, message):
    for part in ("t2net+dc", "modl", "medsrgan", "t2net"):
        text = text.replace("{" + part + "}", card(folder, part))
    with pytest.raises(ValueError, match=message):
        load_system(text)
