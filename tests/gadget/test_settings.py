"""Settings: typed, with every mistake named."""

import json

import jsonschema
import pytest

from gadget.compute.model import check_model
from gadget.errors import UsageError
from gadget.settings import MAPS, Settings, read_settings
from jrsr_core.models.names import PRESETS
from tests.helpers.commands import jrsr


def test_defaults_and_explicit_values():
    assert read_settings([], model=None) == Settings()
    settings = read_settings(["device=cpu", "model=jrsr"], model="cg-sense+sinc", device=None)
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
    assert getattr(read_settings([pair]), name) == value


def test_every_field_takes_its_own_default_as_text():
    pairs = [f"{name}={field.default}" for name, field in Settings.model_fields.items()]
    assert read_settings(pairs) == Settings()


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("kernel_with=6", "unknown property 'kernel_with', did you mean 'kernel_width'?"),
        ("zzz=1", "unknown property 'zzz', nearest of 20: "),
        ("model", "'model' is not of the form key=value"),
        (
            "n_virtual_coils=many",
            "n_virtual_coils is 'many', expected a whole number from 1 to 1024",
        ),
        ("n_virtual_coils=2.5", "n_virtual_coils is '2.5', expected a whole number from 1"),
        ("n_virtual_coils=0", "n_virtual_coils is '0', expected a whole number from 1"),
        ("crop=high", "crop is 'high', expected a number from 0 to 0.99"),
        ("crop=nan", "crop is 'nan', expected a number from 0 to 0.99"),
        ("prewhiten=maybe", "prewhiten is 'maybe', expected true or false"),
        ("on_failure=stopp", "on_failure is 'stopp', did you mean 'stop'?"),
        ("device=gpu", "device is 'gpu', expected auto, cpu, cuda or cuda:n"),
        ("output=colour", "output is 'colour', known: magnitude, float32, complex, int16, uint16"),
        ("maps=hallucinations", "maps is 'hallucinations', did you mean 'hallucination'?"),
    ],
)
def test_mistakes_are_named(pair, words):
    with pytest.raises(UsageError) as caught:
        read_settings([pair])
    assert words in str(caught.value)


def test_several_mistakes_make_one_line():
    with pytest.raises(UsageError) as caught:
        Settings(crop=2, kernel_width="x", modle="jrsr")
    assert str(caught.value) == "unknown property 'modle', did you mean 'model'?"


def test_series_of_maps_keep_their_numbers():
    # Pages, archives and scripts name the series 101, 201 and 301.
    assert MAPS == {"hallucination": 100, "taken_back": 200, "unmeasured": 300}


def test_a_series_of_maps_has_to_fit():
    with pytest.raises(UsageError, match="series_index is 65500, too large for maps=hallucination"):
        Settings(series_index=65500, maps="hallucination")


def test_settings_do_not_change_and_can_be_keys():
    settings = Settings(crop=0.5)
    with pytest.raises(ValueError, match="frozen"):
        settings.crop = 0.6
    assert {settings: 1}[Settings(crop="0.5")] == 1
    assert settings.override({"crop": 0.4}, {"crop": 0.3}) == Settings(crop=0.3)
    assert settings.calibration.crop == 0.5


def test_the_json_schema_says_what_the_settings_take(capfd):
    outcome = jrsr(capfd, "settings", "--json")
    assert outcome.code == 0, outcome.err
    schema = json.loads(outcome.out)
    assert schema == Settings.json_schema()
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    check.validate(Settings().model_dump())
    assert list(schema["properties"]) == list(Settings.model_fields)
    for field in schema["properties"].values():
        assert {"title", "description", "default"} <= field.keys()
    for values in (
        {"modle": "jrsr"},
        {"n_virtual_coils": 0},
        {"n_virtual_coils": 2.5},
        {"crop": 1.5},
        {"on_failure": "stopp"},
        {"prewhiten": "maybe"},
        {"device": "gpu"},
        {"preset": "huge"},
    ):
        assert not check.is_valid(values), values
        with pytest.raises(UsageError):
            Settings(**values)


def test_every_preset_is_a_choice():
    choices = Settings.json_schema()["properties"]["preset"]["enum"]
    assert set(choices) == {"auto", "largest", *PRESETS}


@pytest.mark.parametrize("preset", ["auto", "largest", "compact"])
def test_a_preset_that_is_a_choice_has_weights(preset):
    check_model(Settings(preset=preset))


def test_the_model_may_be_of_a_set_of_weights():
    for name in ("t2net", "t2net@wall-16x", "modl+medsrgan@brain-5x", "sr+dc@wall-16x"):
        check_model(read_settings([f"model={name}"]))
    for name, words in (
        ("t2net@wall-16", "no set of weights 'wall-16', did you mean 'wall-16x'"),
        ("t2ne@wall-16x", "unknown model 't2ne@wall-16x', did you mean 't2net'"),
        ("cg-sense+sinc@wall-16x", "cg-sense+sinc has no weights, leave out @wall-16x"),
    ):
        with pytest.raises(UsageError) as caught:
            check_model(read_settings([f"model={name}"]))
        assert words in str(caught.value)
