"""Settings in what a peer sends: `<property>` elements of a chain, or parameters as JSON text."""

import json
import xml.etree.ElementTree as ET
from typing import Any

from jrsr_core.mrd.xml import XmlError, parse_xml
from jrsr_core.spelling import nearest

from .errors import UsageError
from .settings import Settings

NAMES = ("jrsr", "openrecon", "default")
"""Configuration names, with or without ``.xml``, that stand for the settings of the server."""

NOT_OURS = ("config", "customconfig")
"""Parameters of MRD clients that choose a module of their own server."""


def properties_of(text: bytes) -> dict[str, Any]:
    """Return the properties of a configuration text.

    It is the `<configuration>` of an external node (`<property name="" value=""/>`, or with child
    elements of these names), a whole chain that holds one, JSON, or nothing at all.

    Raises
    ------
    UsageError
        A text that is none of these; a property without a name.
    """
    text = text.strip(b"\0 \r\n\t")
    if text.startswith(b"{"):
        return parameters_of(text.decode("utf-8", errors="replace"))
    if not text:
        return {}
    try:
        root = parse_xml(text)
    except XmlError as error:
        if text.startswith(b"<?xml") and text.endswith(b"?>") and text.count(b"<") == 1:
            return {}  # The XML declaration alone: Gadgetron has no configuration to send.
        raise UsageError(f"configuration {error}") from None
    is_chain = root.find("stream") is not None
    nodes = root.findall(".//external/configuration") if is_chain else [root]
    return dict(_property(element) for node in nodes for element in node.iter("property"))


def _property(element: ET.Element) -> tuple[str, str]:
    name = element.get("name") or element.findtext("name")
    value = element.get("value")
    if not name:
        raise UsageError("configuration has a property without a name")
    return name.strip(), (element.findtext("value") or "" if value is None else value).strip()


def parameters_of(text: str) -> dict[str, Any]:
    """Return the parameters of a JSON text: ``{"parameters": {...}}``, or the inner object.

    A property may be written without its underscores.

    Raises
    ------
    UsageError
        No JSON object.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise UsageError("parameters are nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"parameters are not readable as JSON: {error}") from None
    inner: Any = value.get("parameters", value) if isinstance(value, dict) else value
    if not isinstance(inner, dict):
        raise UsageError(f"parameters are {type(inner).__name__}, expected a JSON object")
    # Names of OpenRecon are letters and digits only.
    plain = {name.replace("_", ""): name for name in Settings.model_fields}
    return {plain.get(name, name): v for name, v in inner.items() if name not in NOT_OURS}


def named_properties(name: str, models: tuple[str, ...]) -> dict[str, Any]:
    """Return what a configuration name stands for: nothing, or a model.

    Raises
    ------
    UsageError
        Unknown name.
    """
    plain = name.removesuffix(".xml")
    if plain in (*NAMES, ""):
        return {}
    if plain in models:
        return {"model": plain}
    raise UsageError(f"unknown configuration {name!r}{nearest(plain, (*NAMES, *models))}")
