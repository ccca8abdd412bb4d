"""From the text of `--model` to a system: names, cards, two cards, and what is refused."""

import pytest
import torch

from jrsr_core.models.names import MODEL_NAMES, has_weights
from jrsr_core.models.registry import build_model
from jrsr_core.weights.card import CardError
from jrsr_core.weights.find import find_card, find_system, system_name
from jrsr_core.weights.load import load_system
from jrsr_core.weights.save import save_weights


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
    with pytest.raises(CardError, match="card is for modl\\+medsrgan, model asked for is t2net"):
        find_system("t2net", weights=both)


def test_every_trainable_system_without_weights_is_refused_in_one_line():
    for name in MODEL_NAMES:
        if name in ("jrsr", "jrsr-dc") or not has_weights(name):
            assert find_system(name)
            continue
        with pytest.raises(CardError, match="no weights for") as caught:
            find_system(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(CardError, match="no weights for modl in preset auto; there are: jrsr-dc"):
        find_system("modl+bicubic")


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
        (f"{find_card('jrsr-dc')}+dc", "leave out \\+dc"),
    ],
)
def test_what_is_refused(folder, text, message):
    for part in ("t2net+dc", "modl", "medsrgan", "t2net"):
        text = text.replace("{" + part + "}", card(folder, part))
    with pytest.raises(ValueError, match=message):
        load_system(text)
