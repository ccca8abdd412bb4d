"""Writes settings into the text of a chain: into the `<configuration>` of its JRSR node."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from gadget.errors import UsageError
from jrsr_core.mrd.header.xml import XmlError, parse_xml

MODULE = "gadget.handler"


def with_properties(text: bytes, values: Mapping[str, str]) -> bytes:
    """Return a chain whose JRSR node has these properties, instead of those of the same name.

    Raises
    ------
    UsageError
        The text is no XML, or it is not clear which of its external nodes is that of JRSR.
    """
    try:
        root = parse_xml(text.rstrip(b"\0 \r\n\t"))
    except XmlError as error:
        raise UsageError(f"chain {error}") from None
    node = _node_of(root)
    configuration = node.find("configuration")
    if configuration is None:
        configuration = ET.SubElement(node, "configuration")
    for name, value in values.items():
        _set(configuration, name, value)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _node_of(root: ET.Element) -> ET.Element:
    """Return the external node that starts our module, else the only one that connects."""
    nodes = list(root.iter("external"))
    ours = [n for n in nodes if (e := n.find("execute")) is not None and e.get("name") == MODULE]
    ours = ours or [n for n in nodes if n.find("connect") is not None]
    if len(ours) != 1:
        raise UsageError(
            f"--set changes the external node of JRSR, the chain has {len(ours)} of them "
            f'(<execute name="{MODULE}"/>, or <connect/>): edit its <configuration> instead'
        )
    return ours[0]


def _set(configuration: ET.Element, name: str, value: str) -> None:
    for element in configuration.findall("property"):
        if (element.get("name") or element.findtext("name") or "").strip() == name:
            configuration.remove(element)
    ET.SubElement(configuration, "property", {"name": name, "value": value})
