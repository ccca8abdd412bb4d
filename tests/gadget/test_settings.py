"""Settings: typed, with every mistake named."""

from dataclasses import fields

import pytest

from gadget.errors import UsageError
from gadget.settings import Settings


def test_defaults_and_explicit_values():
    assert Settings.from_pairs([]) == Settings()
    settings = Settings.from_pairs(["device=cpu", "model=jrsr"], model="cg-sense+sinc", device=None)
    assert (settings.model, settings.device) == ("cg-sense+sinc", "cpu")


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("n_virtual_coils=8", 8),
        ("threshold=1e-3", 1e-3),
        ("prewhiten=off", False),
        ("prewhiten=True", True),
        ("weights=/a=b/card.json", "/a=b/card.json"),
        (" on_failure = stop ", "stop"),
    ],
)
def test_text_becomes_the_type_of_the_field(pair, value):
    name = pair.partition("=")[0].strip()
    assert getattr(Settings.from_pairs([pair]), name) == value


def test_every_field_takes_its_own_default_as_text():
    pairs = [f"{f.name}={f.default}" for f in fields(Settings)]
    assert Settings.from_pairs(pairs) == Settings()


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("kernel_with=6", "unknown property 'kernel_with', did you mean 'kernel_width'?"),
        ("zzz=1", "unknown property 'zzz', known: model, preset"),
        ("model", "'model' is not of the form key=value"),
        ("n_virtual_coils=many", "n_virtual_coils is 'many', expected a whole number"),
        ("n_virtual_coils=2.5", "n_virtual_coils is '2.5', expected a whole number"),
        ("n_virtual_coils=0", "n_virtual_coils is 0, expected 1 to 1024"),
        ("crop=high", "crop is 'high', expected a number"),
        ("crop=nan", "crop is nan, expected 0.0 to 0.99"),
        ("prewhiten=maybe", "prewhiten is 'maybe', expected true or false"),
        ("on_failure=stopp", "on_failure is 'stopp', did you mean 'stop'?"),
        ("device=gpu", "device is 'gpu', expected auto, cpu, cuda or cuda:n"),
        ("output=colour", "output is 'colour', known: magnitude, complex"),
    ],
)
def test_mistakes_are_named(pair, words):
    with pytest.raises(UsageError) as caught:
        Settings.from_pairs([pair])
    assert words in str(caught.value)
