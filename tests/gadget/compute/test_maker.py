"""The model of the settings, named as images name what made them."""

import pytest

from gadget.compute.maker import Maker, makers
from gadget.settings import Settings
from jrsr_core.reconstruction.load import load_model
from jrsr_core.weights.find import find_card


@pytest.mark.parametrize(
    "model",
    ["jrsr", "jrsr-dc", "jrsr@wall-16x", "cg-sense+sinc", "modl+bicubic+dc", "cg-sense+bebygan"],
)
def test_the_maker_is_the_model_that_is_loaded(model):
    loaded = load_model(model, device="cpu")
    assert Maker(loaded.name, "+".join(c.sha256 for c in loaded.cards)) in makers(
        Settings(model=model)
    )


def test_a_card_is_the_model_it_is_of():
    path = find_card("jrsr")
    assert makers(Settings(model=str(path))) == makers(Settings(model="jrsr"))
    assert makers(Settings(model="jrsr", weights=str(path))) == makers(Settings(model="jrsr"))


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (Maker("jrsr", "0123456789ab"), True),
        (Maker("jrsr", "0123456789abcdef"), True),
        (Maker("jrsr", "1123456789ab"), False),
        (Maker("jrsr"), False),
        (Maker("jrsr-dc", "0123456789ab"), False),
    ],
)
def test_a_hash_may_be_cut(stated, expected):
    assert Maker("jrsr", "0123456789abcdef").is_stated_by(stated) == expected
    assert not Maker("jrsr").is_stated_by(Maker("jrsr", "0123"))
