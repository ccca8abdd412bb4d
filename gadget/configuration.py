"""Settings that a peer sends: `<property>` elements of a chain, or parameters as JSON text."""

import json
import logging
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

from jrsr_core.common.spelling import nearest
from jrsr_core.common.validation import expected
from jrsr_core.models.names import CONSISTENT, MODEL_NAMES, own_networks
from jrsr_core.mrd.header.xml import XmlError, parse_xml
from jrsr_core.weights.sets import split_set

from .errors import UsageError
from .plain_text import plain
from .settings import Settings

log = logging.getLogger("jrsr")

Warn = Callable[[str], object]

OPENRECON = "openrecon"
"""The name that scanners with OpenRecon send; they take integers only."""

NAMES = ("jrsr", OPENRECON, "default")
"""Configuration names, with or without ``.xml``, that stand for the settings of the server."""

MAX_NAME = 64
"""Characters of the longest property name that is compared with the settings."""

MAX_WARNINGS = 10
"""Unknown parameters that are logged by name."""

FILES = ("spool_dir", "noise_file", "weights")
"""Settings that name files, which peers may not choose; `model` is one if it names a card."""

OF_OTHER_SERVERS = ("config", "customconfig")
"""Parameters of MRD clients that choose a module of another server."""


def properties_of(text: bytes, warn: Warn = log.warning) -> dict[str, Any]:
    """Return the properties of a configuration text.

    The text may be the `<configuration>` of an external node, a whole chain that contains one,
    JSON, or empty. A property is `<property name="" value=""/>`, or has child elements of these
    names.

    Raises
    ------
    UsageError
        The text is none of these, or a property has no name.
    """
    text = text.strip(b"\0 \r\n\t")
    if text.startswith(b"{"):
        return parameters_of(text.decode("utf-8", errors="replace"), warn)
    if not text:
        return {}
    try:
        root = parse_xml(text)
    except XmlError as error:
        if text.startswith(b"<?xml") and text.endswith(b"?>") and text.count(b"<") == 1:
            # Gadgetron sends the XML declaration alone if it has no configuration.
            return {}
        raise UsageError(f"configuration {error}") from None
    is_chain = root.find("stream") is not None
    nodes = root.findall(".//external/configuration") if is_chain else [root]
    return dict(_property(element) for node in nodes for element in node.iter("property"))


def _property(element: ET.Element) -> tuple[str, str]:
    name = element.get("name") or element.findtext("name")
    value = element.get("value")
    if not name:
        raise UsageError("configuration has a property without a name")
    _check_length(name.strip())
    return name.strip(), (element.findtext("value") or "" if value is None else value).strip()


def parameters_of(text: str, warn: Warn = log.warning) -> dict[str, Any]:
    """Return the settings of a JSON text: ``{"parameters": {...}}``, or the inner object.

    Names may be written without their underscores, as OpenRecon requires. An unknown name is left
    out, and `warn` called with one sentence: scanners send parameters of other software as well.

    Raises
    ------
    UsageError
        The text is not a JSON object.
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
    full = {name.replace("_", ""): name for name in Settings.model_fields}
    values: dict[str, Any] = {n: v for n, v in inner.items() if n not in OF_OTHER_SERVERS}
    values = {full.get(name, name): value for name, value in values.items()}
    unknown = [name for name in values if name not in Settings.model_fields]
    for name in unknown[:MAX_WARNINGS]:
        hint = nearest(name, Settings.model_fields) if len(name) <= MAX_NAME else ""
        warn(plain(f"parameter ignored: unknown property {_shown(name)}{hint}"))
    if len(unknown) > MAX_WARNINGS:
        warn(f"{len(unknown) - MAX_WARNINGS} more unknown parameters ignored")
    known = {name: value for name, value in values.items() if name in Settings.model_fields}
    for name, value in known.items():
        _check_type(name, value)
    return known


def _check_length(name: str) -> None:
    if len(name) > MAX_NAME:
        raise UsageError(f"unknown property {_shown(name)}")


def _shown(name: str) -> str:
    """Return a name in quotes, shortened if it is longer than any of ours."""
    return (
        repr(name) if len(name) <= MAX_NAME else f"{name[:MAX_NAME]!r}... ({len(name)} characters)"
    )


def _check_type(name: str, value: Any) -> None:
    """Raise `UsageError` unless a JSON value has a type of its setting; text stands for any."""
    field = Settings.model_fields.get(name)
    if field is None or isinstance(value, str):
        return
    if field.annotation is str or not isinstance(value, bool | int | float):
        shown = json.dumps(value)[:MAX_NAME]
        raise UsageError(f"{name} is {shown} in JSON, expected {expected(field)}")


def named_properties(name: str) -> dict[str, Any]:
    """Return the settings that a configuration name stands for.

    OpenRecon means int16 images, the name of a model means this model, with its set of weights and
    with ``+dc`` where the name has them.

    Raises
    ------
    UsageError
        Unknown name.
    """
    plain = name.removesuffix(".xml")
    if plain == OPENRECON:
        return {"output": "int16"}
    if plain in (*NAMES, ""):
        return {}
    models = (*MODEL_NAMES, *own_networks())
    if split_set(plain)[0].removesuffix(CONSISTENT) in models:
        return {"model": plain}
    raise UsageError(f"unknown configuration {name!r}{nearest(plain, (*NAMES, *models))}")


def refuse_files(properties: dict[str, Any], own: Settings) -> None:
    """Raise `UsageError` for paths among the properties of a peer that differ from the own ones."""
    named = [name for name in FILES if properties.get(name, "") != ""]
    if ".json" in str(properties.get("model", "")):
        named.append("model")
    for name in named:
        if str(properties[name]) != getattr(own, name):
            raise UsageError(
                f"{name} names a file of the server, which peers may not choose "
                "(jrsr serve --peer-files)"
            )
