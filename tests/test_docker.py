"""Containers, as far as they can be tested without one: label, files, users, ports."""

import base64
import copy
import importlib.util
import json
import re
import shlex
from pathlib import Path

import jsonschema
import pytest
import yaml

from gadget.configuration import parameters_of
from gadget.settings import Settings
from jrsr_core.weights.card import WeightsCard
from jrsr_core.weights.sets import cards_in, shipped_folder

DOCKER = Path(__file__).parent.parent / "docker"
IMAGES = sorted(DOCKER.glob("*.Dockerfile"))


@pytest.fixture(scope="module")
def openrecon():
    """The script that writes the label."""
    spec = importlib.util.spec_from_file_location("openrecon", DOCKER / "openrecon.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def schema():
    return json.loads((DOCKER / "openrecon_schema.json").read_text())


@pytest.mark.parametrize("gpu", [False, True])
def test_the_label_is_valid(gpu, openrecon, schema):
    label = openrecon.encoded(openrecon.metadata(gpu=gpu))
    content = json.loads(base64.b64decode(label, validate=True))
    jsonschema.Draft7Validator(schema).validate(content)
    assert content == openrecon.metadata(gpu=gpu)
    assert content["reconstruction"]["can_use_gpu"] is gpu
    assert len(content["parameters"]) <= 14


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("reconstruction", "port"), "9002"),
        (("reconstruction", "emitter"), "pixels"),
        (("general", "version"), "1.0-rc1"),
        (("general", "id"), "j_r_s_r"),
        (("parameters", 1, "id"), "n_virtual"),
        (("parameters", 1, "type"), "colour"),
        (("parameters", 3, "default"), "12"),
    ],
)
def test_the_schema_refuses(path, value, openrecon, schema):
    content = copy.deepcopy(openrecon.metadata())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)


def test_too_many_parameters_are_refused(openrecon, schema):
    content = openrecon.metadata()
    content["parameters"] = content["parameters"][1:2] * 15
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)


def test_what_the_operator_chooses_arrives(openrecon):
    parameters = openrecon.metadata()["parameters"]
    choices = [
        {p["id"]: p["default"] for p in parameters},
        *({p["id"]: v["id"]} for p in parameters for v in p.get("values", ())),
        *({p["id"]: p[end]} for p in parameters if p["type"] == "int" for end in ("maximum",)),
    ]
    for chosen in choices:
        Settings(**parameters_of(json.dumps({"parameters": chosen})))
    sent = json.dumps({"parameters": {"nvirtualcoils": 8, "maps": "none", "config": "openrecon"}})
    settings = Settings(**parameters_of(sent))
    assert settings.n_virtual_coils == 8 and settings.map_names == []
    assert settings.output == "int16"


def test_the_label_asks_for_integers_by_itself(openrecon):
    """Hosts that put the parameters in the place of the name have nothing else to go by."""
    sent = {p["id"]: p["default"] for p in openrecon.metadata()["parameters"]}
    assert parameters_of(json.dumps({"parameters": sent}))["output"] == "int16"


def test_the_parameter_page_is_made_from_the_settings(openrecon):
    fields = Settings.json_schema()["properties"]
    names = {name.replace("_", ""): name for name in fields}
    parameters = [p for p in openrecon.metadata()["parameters"] if p["id"] != "config"]
    assert {names[p["id"]] for p in parameters} == set(openrecon.SHOWN)
    assert set(openrecon.NARROWED) | set(openrecon.DEFAULTS) <= set(openrecon.SHOWN)
    for parameter in parameters:
        field = fields[names[parameter["id"]]]
        assert parameter["label"]["en"] == field["title"]
        assert parameter["information"]["en"] == " ".join(field["description"].split())
        if parameter["type"] == "int":
            assert field["minimum"] <= parameter["minimum"] < parameter["maximum"]
            assert parameter["maximum"] <= field["maximum"]
        for value in parameter.get("values", ()):
            Settings(**{names[parameter["id"]]: value["id"]})


def test_the_number_of_coils_on_the_page_is_that_of_the_training(openrecon):
    cards = map(WeightsCard.read, cards_in(shipped_folder()))
    lows, highs = zip(*(card.range["n_coils"] for card in cards), strict=True)
    assert openrecon.NARROWED["n_virtual_coils"] == (max(lows), min(highs))


def instructions(path: Path) -> list[tuple[str, str]]:
    """Instructions of a Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.stem)
def test_images(path):
    lines = instructions(path)
    users = [value for name, value in lines if name == "USER"]
    defaults = dict(value.split("=", 1) for name, value in lines if name == "ARG" and "=" in value)
    assert re.sub(r"\$\{(\w+)\}", lambda m: defaults[m[1]], users[-1]) == "jrsr"
    assert [name for name, _ in lines if name == "HEALTHCHECK"]
    assert lines[0][0] == "ARG" and lines[0][1].startswith("BASE=")
    for name, value in lines:
        if name == "COPY" and "--from" not in value:
            for source in shlex.split(value)[:-1]:
                assert list(DOCKER.parent.glob(source)), source
    assert (DOCKER / f"{path.name}.dockerignore").exists()


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.stem)
def test_images_have_every_package_of_the_wheel(path):
    listed = re.search(
        r"^packages = \[(.+)\]$", (DOCKER.parent / "pyproject.toml").read_text(), re.M
    )
    packages = re.findall(r'"(\w+)"', listed[1])
    copied = re.findall(r"^COPY (\w+) \1$", path.read_text(), re.MULTILINE)
    assert len(packages) >= 3
    assert sorted(copied) == sorted(packages)


def test_the_server_listens_where_its_health_is_asked():
    lines = dict(instructions(DOCKER / "server.Dockerfile"))
    for name in ("HEALTHCHECK", "CMD"):
        assert '"--port", "9002"' in lines[name]
    assert lines["EXPOSE"] == "9002"
    assert '"--host", "0.0.0.0"' in lines["CMD"]


def test_builders_that_demand_root_and_a_command_get_them():
    """What neurodesk's OpenRecon builds require."""
    lines = instructions(DOCKER / "server.Dockerfile")
    assert ("ARG", "RUN_AS=jrsr") in lines and ("USER", "${RUN_AS}") in lines
    assert json.loads(dict(lines)["CMD"])[:2] == ["jrsr", "serve"]
    assert json.loads(dict(lines)["ENTRYPOINT"]) == ["tini", "--"]


def test_compose():
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert (DOCKER.parent / service["build"]["dockerfile"]).exists()
        if "network_mode" in service:
            assert service["network_mode"].removeprefix("service:") in services
    chain = (DOCKER.parent / "xml_chains" / "jrsr_connect.xml").read_text()
    (port,) = re.findall(r'<connect [^>]*port="(\d+)"', chain)
    assert services["jrsr"]["entrypoint"][-1] == port
    assert services["jrsr"]["healthcheck"]["test"][-1] == port
