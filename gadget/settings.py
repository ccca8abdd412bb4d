"""Every property of the plugin: one frozen dataclass for `--set` and for `<property>` elements."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from jrsr_core.mrd.header import XmlError, parse_xml
from jrsr_core.spelling import nearest

from .errors import UsageError

_CHOICES = {
    "precision": ("auto", "32", "bf16"),
    "on_failure": ("fallback", "stop"),
    "output": ("magnitude", "complex"),
    "trigger": ("slice", "repetition", "measurement", "bucket"),
}
MAPS = {"hallucination": 100, "taken_back": 200, "unmeasured": 300}
"""Maps that may be asked for, and by how much their series is above that of the images."""

_RANGES = {
    "n_virtual_coils": (1, 1024),
    "kernel_width": (3, 16),
    "threshold": (0.0, 0.99),
    "crop": (0.0, 0.99),
    "series_index": (1, 65535),
    "batch_size": (1, 1024),
    "time_limit": (0.0, 86400.0),
}
_DEVICE = r"(auto|cpu|cuda(:\d+)?)"
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True)
class Settings:
    """What the user may choose.

    Attributes
    ----------
    model, preset, weights
        System by name, by card (``*.json``), or ``RECON+UPSAMPLE`` of a name or a card each;
        its size: compact, paper, auto (compact on a CPU, on a GPU the largest there is) or largest;
        the card for a name, or two joined by "+", empty for what is shipped.
    n_virtual_coils, kernel_width, threshold, crop
        Calibration: coils kept by compression, ESPIRiT kernel, singular value and map thresholds.
    device
        auto, cpu, cuda or cuda:n; several, parted by commas, share the work.
    precision
        Of the networks: 32 (float32), bf16 (bfloat16, faster where the hardware has it; a fixed
        point ends in float32) or auto (bf16 on a GPU that has it, 32 on a CPU).
    prewhiten
        Use noise lines: the scan's own, or those of `noise_file`.
    noise_file
        ISMRMRD file of an earlier scan whose noise lines replace the scan's own; empty for none.
    on_failure
        What a slice that cannot be reconstructed becomes: `fallback` image, or `stop`.
    output
        magnitude (float32) or complex (complex64) images.
    series_index
        Image series of the result, and the number in its group name.
    batch_size
        Readout positions of a 3-D scan, on a GPU also slices, that are reconstructed together.
    time_limit
        Seconds a slice, or a readout position, may take before it becomes a fallback image; 0 for
        no limit.
    trigger
        When a live scan has all lines of an image: after the last line of the `slice`, of the
        `repetition`, of the `measurement`, or with the `bucket` that brings them.
    maps
        Extra series, parted by commas: `hallucination`, `taken_back`, `unmeasured`; empty, or
        `none`, for none.
    spool_dir
        Folder for the raw data of images that failed; empty for none.
    """

    model: str = "jrsr-dc"
    preset: str = "auto"
    weights: str = ""
    n_virtual_coils: int = 12
    kernel_width: int = 6
    threshold: float = 0.02
    crop: float = 0.9
    device: str = "auto"
    precision: str = "auto"
    prewhiten: bool = True
    noise_file: str = ""
    on_failure: str = "fallback"
    output: str = "magnitude"
    series_index: int = 1
    batch_size: int = 4
    time_limit: float = 0.0
    trigger: str = "slice"
    maps: str = ""
    spool_dir: str = ""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for name, known in _CHOICES.items():
            _check_choice(name, getattr(self, name), known)
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name)}, expected {low} to {high}")
        if not re.fullmatch(rf"{_DEVICE}(\s*,\s*{_DEVICE})*", self.device):
            raise UsageError(f"device is {self.device!r}, expected auto, cpu, cuda or cuda:n")
        for name in self.map_names:
            _check_choice("maps", name, tuple(MAPS))
            if self.series_index + MAPS[name] > _RANGES["series_index"][1]:
                raise UsageError(f"series_index is {self.series_index}, too large for maps={name}")

    @property
    def devices(self) -> list[str]:
        """Names of the devices."""
        return [name.strip() for name in self.device.split(",")]

    @property
    def map_names(self) -> list[str]:
        """Names of the maps."""
        names = [name.strip() for name in self.maps.split(",")]
        return [name for name in names if name not in ("", "none")]

    @classmethod
    def from_pairs(cls, pairs: Iterable[str], **explicit: Any) -> "Settings":
        """Return settings from ``key=value`` texts; `explicit` values that are not None win.

        Raises
        ------
        UsageError
            Text without ``=``, unknown key (the nearest one is named), value of another type.
        """
        return cls.from_properties(
            split_pairs(pairs) | {k: v for k, v in explicit.items() if v is not None}
        )

    @classmethod
    def from_properties(cls, values: dict[str, Any], base: "Settings | None" = None) -> "Settings":
        """Return settings from texts by name, as `<property>` elements bring them, over `base`."""
        known = {f.name: f.default for f in fields(cls)}
        for name in values:
            if name not in known:
                raise UsageError(f"unknown property {name!r}{nearest(name, known)}")
        return replace(base or cls(), **{k: _convert(k, v, known[k]) for k, v in values.items()})


def split_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """Return ``key=value`` texts by key; `UsageError` for a text without ``=``."""
    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair!r} is not of the form key=value")
        values[key.strip()] = text.strip()
    return values


def _convert(name: str, value: Any, default: Any) -> Any:
    """Text, or a number of a JSON message, to the type of the default."""
    kind = type(default)
    if type(value) is kind:
        return value
    value = str(value)
    try:
        if kind is bool:
            return _to_bool(value)
        return kind(value)
    except ValueError:
        raise UsageError(f"{name} is {value!r}, expected {_KIND_NAMES[kind]}") from None


_KIND_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _to_bool(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} is {value!r}{nearest(value, known)}")


# FOLDED gadget/configuration.py: Settings out of what a peer sends: `<property>` elements, or parameters as JSON text.
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
    inner = value.get("parameters", value) if isinstance(value, dict) else value
    if not isinstance(inner, dict):
        raise UsageError(f"parameters are {type(inner).__name__}, expected a JSON object")
    # Names of OpenRecon are letters and digits only.
    plain = {f.name.replace("_", ""): f.name for f in fields(Settings)}
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


def settings_of(base: Settings, *properties: dict[str, Any]) -> Settings:
    """Return the settings with properties put over them, later ones over earlier ones.

    Raises
    ------
    UsageError
        Unknown property, or a value of another kind.
    """
    merged = {name: value for group in properties for name, value in group.items()}
    return Settings.from_properties(merged, base)
