"""The shipped chains: Gadgetron accepts them, every property is one of ours and explained."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from gadget import handler
from gadget.compute.engine import EngineCache
from gadget.configuration import properties_of
from gadget.settings import Settings
from tests.helpers.paths import ROOT

CHAINS = sorted((ROOT / "xml_chains").glob("*.xml"))
NAMES = {"jrsr", "jrsr_connect", "jrsr_raw", "jrsr_raw_connect", "jrsr_3d", "jrsr_debug"}
RESIZES = ("resize", "scale", "float", "extract", "crop", "interpolat", "combine", "finish", "fft")


def root_of(path: Path, *, comments: bool = False) -> ET.Element:
    builder = ET.TreeBuilder(insert_comments=comments)
    return ET.parse(path, ET.XMLParser(target=builder)).getroot()


def test_all_are_there():
    assert {p.stem for p in CHAINS} == NAMES


@pytest.mark.parametrize("path", CHAINS, ids=lambda p: p.stem)
class TestChain:
    def test_gadgetron_takes_it(self, path):
        root = root_of(path)
        assert root.tag == "configuration" and root.findtext("version") == "2"
        assert {e.tag for e in root} == {"version", "readers", "writers", "stream"}
        stream = {"gadget", "external"}
        assert {e.tag for e in root.find("stream")} <= stream
        readers = {e.findtext("classname") for e in root.iter("reader")}
        assert readers == {"AcquisitionReader", "WaveformReader"}
        # What has no writer is dropped without a word at the end of a chain.
        assert "ImageWriter" in {e.findtext("classname") for e in root.iter("writer")}

    def test_the_node_is_ours_and_the_last(self, path):
        *before, external = root_of(path).find("stream")
        assert external.tag == "external"
        way, configuration = external
        assert configuration.tag == "configuration"
        if way.tag == "execute":
            assert way.attrib == {
                "name": "gadget.handler",
                "target": "reconstruct",
                "type": "python",
            }
            assert callable(getattr(handler, way.get("target")))
        else:
            assert (way.tag, way.get("address"), way.get("port")) == (
                "connect",
                "localhost",
                "18000",
            )
        for gadget in before:
            name = gadget.findtext("classname").lower()
            assert not any(word in name for word in RESIZES)

    def test_every_property_is_a_setting_with_a_value_of_its_kind(self, path):
        properties = properties_of(path.read_bytes())
        assert len(properties) == len(list(root_of(path).findall(".//external//property")))
        settings = Settings(**properties)
        for name, value in properties.items():
            assert str(getattr(settings, name)).lower() == value or float(value) == getattr(
                settings, name
            )

    def test_every_property_and_every_node_is_explained(self, path):
        for parent in root_of(path, comments=True).iter():
            children = list(parent)
            for i, child in enumerate(children):
                if child.tag in ("property", "gadget", "execute", "connect"):
                    assert i and children[i - 1].tag is ET.Comment, ET.tostring(child)
                    assert len(children[i - 1].text.split()) > 2

    def test_no_value_that_gadgetron_would_take_for_a_reference(self, path):
        values = [e.get("value") for e in root_of(path).iter("property")]
        assert not [v for v in values if "@" in v]

    def test_lines_fit_on_a_screen(self, path):
        assert not [x for x in path.read_text().splitlines() if len(x) > 120 or "\t" in x]


def test_with_and_without_noise_adjustment():
    """A gadget that keeps noise needs a storage server; there are chains for those without."""
    with_noise = {p.stem for p in CHAINS if "NoiseAdjust" in re.sub(r"<!--.*?-->", "", text(p))}
    assert with_noise and NAMES - with_noise
    for path in CHAINS:
        settings = Settings(**properties_of(path.read_bytes()))
        buckets = "AccumulateTrigger" in text(path)
        assert (settings.trigger == "bucket") is buckets
        if not buckets:
            assert settings.prewhiten


def text(path: Path) -> str:
    return re.sub(r"<!--.*?-->", "", path.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("name", ["jrsr_connect", "jrsr_raw_connect"])
def test_the_connected_chain_uses_the_model_that_the_server_has_loaded(name):
    made = []
    engines = EngineCache(lambda settings: made.append(settings) or settings)
    base = Settings()
    path = ROOT / "xml_chains" / f"{name}.xml"
    engines.get(base)
    engines.get(base.override(properties_of(path.read_bytes())))
    assert len(made) == 1
