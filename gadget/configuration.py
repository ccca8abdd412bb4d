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

INTEGERS = (OPENRECON, "gadget.openrecon")
"""Configuration names that stand for the settings of the server with integer pixels."""

NAMES = ("jrsr", "default", "gadget.fire", *INTEGERS)
"""Configuration names, with or without ``.xml``, that stand for the settings of the server."""

MAX_NAME = 64
"""Characters of the longest name that is compared with the known ones."""

MAX_WARNINGS = 10
"""Unknown parameters that are logged by name."""

FILES = ("spool_dir", "noise_file", "weights")
"""Settings that name files, which peers may not choose; `model` is one if it names a card."""

NAMED_BY = ("customconfig", "config")
"""Parameters of MRD clients that name a configuration; the first one that is not empty counts."""


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

    Names may be written without their underscores, as OpenRecon requires. The settings of a
    configuration that is named come first; the other parameters override them. Whatever has an
    unknown name is left out, and `warn` called with one sentence: scanners send parameters of other
    software as well.

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
    values: dict[str, Any] = {n: v for n, v in inner.items() if n not in NAMED_BY}
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
    return _of_named_configuration(inner, warn) | known


def _of_named_configuration(parameters: dict[str, Any], warn: Warn) -> dict[str, Any]:
    """Return the settings of the configuration that parameters name, if it is one of ours.

    Other names are modules of a server that hosts us. Whether a module exists is not tried: that
    would import packages which a peer chooses.
    """
    by, name = next(((n, v) for n in NAMED_BY if (v := parameters.get(n))), ("", ""))
    try:
        return named_properties(name if isinstance(name, str) else json.dumps(name))
    except UsageError as error:
        warn(plain(f"parameter ignored: {by}: {error}"))
        return {}


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
    with ``+dc`` where the name has them. The modules for python-ismrmrd-server have names as well.

    Raises
    ------
    UsageError
        Unknown name.
    """
    known = name.removesuffix(".xml")
    if known in INTEGERS:
        return {"output": "int16"}
    if known in (*NAMES, ""):
        return {}
    models = (*MODEL_NAMES, *own_networks())
    if split_set(known)[0].removesuffix(CONSISTENT) in models:
        return {"model": known}
    hint = nearest(known, (*NAMES, *models)) if len(name) <= MAX_NAME else ""
    raise UsageError(f"unknown configuration {_shown(name)}{hint}")


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
