"""Settings out of what peers send: property elements of both styles, chains, JSON."""

import json

import pytest

from gadget.configuration import named_properties, parameters_of, properties_of
from gadget.errors import UsageError
from gadget.settings import Settings
from tests.helpers import layouts

OLD_STYLE = """<configuration>
  <!-- a comment -->
  <property><name> model </name><value>cg-sense+sinc</value></property>
  <property><name>weights</name><value/></property>
  <property name="crop" value="0.5"/>
  <property name="noise_file"><value>a@b.h5</value></property>
</configuration>"""
CHAIN = """<?xml version="1.0" encoding="UTF-8"?>
<configuration><version>2</version><readers/><stream>
  <gadget><property name="trigger_dimension" value="repetition"/></gadget>
  <external><execute name="gadget.handler"/>
    <configuration><property name="device" value="cpu"/></configuration></external>
</stream></configuration>"""


def test_both_styles_of_properties():
    assert properties_of(OLD_STYLE.encode()) == {
        "model": "cg-sense+sinc",
        "weights": "",
        "crop": "0.5",
        "noise_file": "a@b.h5",
    }


def test_of_a_chain_only_the_properties_of_the_node():
    assert properties_of(CHAIN.encode()) == {"device": "cpu"}


@pytest.mark.parametrize(
    "text", [b"", b"\0", b" \n", b'<?xml version="1.0"?>\n', b'<?xml version="1.0"?>\0']
)
def test_nothing_to_say(text):
    assert properties_of(text) == {}


@pytest.mark.parametrize("tail", ["", "\0", "\n\0"])
def test_umlauts_and_a_nul_at_the_end(tail):
    text = layouts.properties(spool_dir="/tmp/Müller") + tail
    assert properties_of(text.encode()) == {"spool_dir": "/tmp/Müller"}
    latin = '<?xml version="1.0" encoding="ISO-8859-1"?><configuration/>'
    latin = latin.replace("/>", '><property name="spool_dir" value="ü"/></configuration>')
    assert properties_of(latin.encode("latin-1")) == {"spool_dir": "ü"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"<configuration>", "not readable as XML"),
        (b"model=jrsr", "not readable as XML"),
        (b'<configuration><property value="1"/></configuration>', "property without a name"),
        (b'{"model": ', "not readable as JSON"),
        (b'{"parameters": 3}', "parameters are int"),
    ],
)
def test_texts_that_are_no_configuration(text, words):
    with pytest.raises(UsageError, match=words):
        properties_of(text)


def test_parameters_as_json():
    inner = {"output": "complex", "config": "jrsr", "customconfig": "", "crop": 0.5}
    expected = {"output": "complex", "crop": 0.5}
    for text in (json.dumps(inner), json.dumps({"parameters": inner}), json.dumps(inner) + "\n"):
        assert parameters_of(text) == properties_of(text.encode()) == expected
    assert parameters_of('{"parameters": {}}') == {}


@pytest.mark.parametrize("text", ["[1]", "null", '"x"', "3"])
def test_json_that_is_no_object(text):
    with pytest.raises(UsageError, match="expected a JSON object"):
        parameters_of(text)


def test_values_of_any_json_type():
    found = Settings().override(
        {"prewhiten": False, "n_virtual_coils": 4, "time_limit": 3, "crop": "0.5"},
        {"n_virtual_coils": "5", "output": "complex"},
    )
    assert (found.prewhiten, found.n_virtual_coils, found.time_limit) == (False, 5, 3.0)
    assert (found.crop, found.output) == (0.5, "complex")


def test_what_is_not_said_is_as_the_server_has_it():
    base = Settings(model="cg-sense+sinc", crop=0.3)
    assert base.override() == base
    assert base.override({"crop": 0.4}) == Settings(model="cg-sense+sinc", crop=0.4)


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_a_misspelt_property_is_named_with_the_nearest(name):
    wrong = name[:-1] + "q" if len(name) > 4 else name + "q"
    with pytest.raises(UsageError, match=f"unknown property '{wrong}', did you mean '{name}'"):
        Settings(**{wrong: "1"})


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"zzz": 1}, "unknown property 'zzz', nearest of 20: "),
        (
            {"n_virtual_coils": "many"},
            "n_virtual_coils is 'many', expected a whole number from 1",
        ),
        ({"n_virtual_coils": 0}, "n_virtual_coils is '0', expected a whole number from 1"),
        ({"n_virtual_coils": None}, "n_virtual_coils is 'None'"),
        ({"crop": "nan"}, "crop is 'nan', expected a number from 0 to 0.99"),
        ({"prewhiten": "perhaps"}, "prewhiten is 'perhaps', expected true or false"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"trigger": "slices"}, "trigger is 'slices'"),
        ({"output": ["a"]}, "output is"),
        ({"n_virtual_coils": True}, "n_virtual_coils is 'True', expected a whole number"),
        ({"self": 1}, "unknown property 'self'"),
    ],
)
def test_a_wrong_value_is_named(properties, words):
    with pytest.raises(UsageError, match=words):
        Settings(**properties)


def test_names_of_configurations():
    for name in ("jrsr", "jrsr.xml", "default", "", "gadget.fire"):
        assert named_properties(name) == {}
    for name in ("openrecon", "openrecon.xml", "gadget.openrecon"):
        assert named_properties(name) == {"output": "int16"}
    for name in ("cg-sense+sinc", "jrsr-dc.xml", "jrsr@wall-16x", "recon+sr+dc@brain-5x.xml"):
        assert named_properties(name) == {"model": name.removesuffix(".xml")}
    with pytest.raises(UsageError, match=r"unknown configuration 'cg-sence\+sinc', did you mean"):
        named_properties("cg-sence+sinc")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"config": "cg-sense+sinc"}, {"model": "cg-sense+sinc"}),
        ({"config": "cg-sense+sinc", "customconfig": ""}, {"model": "cg-sense+sinc"}),
        ({"config": "openrecon", "customconfig": "cg-sense+sinc"}, {"model": "cg-sense+sinc"}),
        ({"config": "openrecon", "customconfig": "gadget.fire"}, {}),
        ({"config": "openrecon", "output": "complex"}, {"output": "complex"}),
        ({"config": "jrsr", "crop": 0.5}, {"crop": 0.5}),
        ({"config": None, "customconfig": None}, {}),
    ],
)
def test_names_in_parameters(parameters, expected, caplog):
    """As python-ismrmrd-server has it: `customconfig` beats `config`."""
    assert parameters_of(json.dumps({"parameters": parameters})) == expected
    assert not caplog.records


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (
            {"config": "cg-sense+snic"},
            "config: unknown configuration 'cg-sense+snic', did you mean 'cg-sense+sinc'?",
        ),
        (
            {"config": "openrecon", "customconfig": "json.tool"},
            "customconfig: unknown configuration 'json.tool', nearest of",
        ),
        ({"config": "x" * 10**6}, "config: unknown configuration 'xxx"),
        ({"config": ["jrsr"]}, "config: unknown configuration '[\"jrsr\"]', did you mean 'jrsr'?"),
        ({"config": "a\x1b[2Jb"}, "config: unknown configuration 'a\\x1b[2Jb', nearest of"),
    ],
)
def test_other_names_in_parameters_are_a_warning(parameters, words):
    heard = []
    assert parameters_of(json.dumps(parameters | {"crop": 0.5}), heard.append) == {"crop": 0.5}
    (warning,) = heard
    assert warning.startswith(f"parameter ignored: {words}") and len(warning) < 300


def test_unknown_parameters_of_json_are_a_warning(caplog):
    """A scanner sends those of other software as well; a property of a chain is an error."""
    text = '{"parameters": {"crop": 0.5, "kernelwidth": 5, "sendOriginal": true, "modle": "x"}}'
    assert parameters_of(text) == {"crop": 0.5, "kernel_width": 5}
    assert properties_of(text.encode()) == {"crop": 0.5, "kernel_width": 5}
    heard = []
    assert parameters_of(text, heard.append) == {"crop": 0.5, "kernel_width": 5}
    assert [t for t in heard if "'sendOriginal'" in t]
    assert "parameter ignored: unknown property 'modle', did you mean 'model'?" in heard
    assert len(caplog.records) == 4
    with pytest.raises(UsageError, match="crop is"):
        Settings(**parameters_of('{"crop": 7}'))
    many = {f"x{i}": i for i in range(50)}
    heard.clear()
    assert parameters_of(json.dumps(many), heard.append) == {}
    assert len(heard) == 11 and heard[-1].startswith("40 more")
