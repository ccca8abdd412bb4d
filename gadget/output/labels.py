"""Reads patient, study, system and sequence from the ISMRMRD header in the form of DICOM values.

Missing or malformed values become empty, as DICOM allows; no value is invented.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property

from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header.xml import XmlError, declared_as_utf8, parse_xml

from .diffusion import Diffusion, read_weightings

MAX_UID = 64
UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")

SEQUENCES = (
    (("epi", "echo planar", "echoplanar"), ("EP", "NONE")),
    (("trufi", "bssfp", "ssfp", "fiesta", "balanced"), ("GR", "SS")),
    (("mprage", "flash", "spgr", "spoil"), ("GR", "SP")),
    (("gre", "gradient", "ffe", "fisp"), ("GR", "NONE")),
    (("tse", "fse", "haste", "rare", "turbo spin", "turbospin", "fast spin"), ("SE", "SK")),
    (("se", "spin"), ("SE", "NONE")),
)
"""Words in a sequence type, and ScanningSequence and SequenceVariant of DICOM; first match."""

RESEARCH_MODE = ("RM", "NONE")

INVERSION = re.compile(
    r"mp2?rage|flair|stir|tirm|inversion|molli|dark.?fluid"
    r"|(?<![a-z])(ir|ir-?(se|tse|fse|spgr|gre|epi|prep))(?![a-z])"
)
"""Words in a sequence type or protocol name that stand for an inversion pulse."""

MAX_ECHOES = 2**16
"""Number of lines that a counter of 16 bits tells apart."""

ZONE = r"(Z|[+-]\d{2}:?\d{2})?"
DATE = re.compile(rf"(\d{{4}})-?(\d{{2}})-?(\d{{2}}){ZONE}")
TIME = re.compile(rf"(\d{{2}}):?(\d{{2}}):?(\d{{2}})(\.\d{{1,6}})?\d*{ZONE}")
"""Dates and times of XML Schema, which may have a time zone, and of DICOM."""

ZONED = (
    "studyInformation/studyTime",
    "measurementInformation/seriesTime",
    "studyInformation/studyDate",
    "measurementInformation/seriesDate",
)


def _is_valid(text: str, layout: str) -> bool:
    try:
        datetime.strptime(text, layout)
    except ValueError:
        return False
    return True


def as_text(found: str, limit: int) -> str:
    """Return a text that DICOM accepts: no backslash or control characters, cut at `limit`."""
    text = found.strip().replace("\\", "/")
    return "".join(c for c in text if c.isprintable())[:limit].strip()


class Labels:
    """An ISMRMRD header whose elements are read by their path.

    Parameters
    ----------
    xml
        Text of the header.
    replaced
        Texts by path, which take the place of those of the header.

    Raises
    ------
    BadScan
        The text is not XML, or XML that is not accepted.
    """

    def __init__(self, xml: str, replaced: Mapping[str, str] | None = None) -> None:
        self.xml = xml
        self._replaced = replaced or {}
        try:
            self._root = parse_xml(declared_as_utf8(xml).encode("utf-8"))
        except XmlError as error:
            raise BadScan(f"header {error}") from None

    def text(self, path: str, limit: int = 64) -> str:
        """Return a text as `as_text` does."""
        return as_text(self._replaced.get(path) or self._root.findtext(path) or "", limit)

    def code(self, path: str) -> str:
        """Return a DICOM code string, empty if the value is none."""
        text = self.text(path).upper()
        return text if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text) else ""

    def numbers(self, path: str) -> list[float]:
        """Return all values of an element that are finite numbers."""
        values = []
        own = [element.text for element in self._root.findall(path)]
        for text in [self._replaced[path]] if path in self._replaced else own:
            try:
                values.append(float(text or ""))
            except ValueError:
                continue
        return [value for value in values if math.isfinite(value)]

    def number(self, path: str) -> float | None:
        """Return the first value of an element, or None."""
        return next(iter(self.numbers(path)), None)

    def date(self, path: str) -> str:
        """Return ``2020-01-31+02:00`` as ``20200131``, empty if the value is no date."""
        found = DATE.fullmatch(self.text(path))
        text = "".join(found.groups()[:3]) if found else ""
        return text if _is_valid(text, "%Y%m%d") and "1000" <= text < "9999" else ""

    def time(self, path: str) -> str:
        """Return ``12:30:59.5Z`` as ``123059.5``, empty if the value is no time."""
        found = TIME.fullmatch(self.text(path))
        if not found or not _is_valid("".join(found.groups()[:3]), "%H%M%S"):
            return ""
        return "".join(filter(None, found.groups()[:4]))

    def zone(self) -> str:
        """Return the offset from UTC as ``+0200`` if all dates and times that have one agree."""
        found = [DATE.fullmatch(self.text(p)) or TIME.fullmatch(self.text(p)) for p in ZONED]
        zones = {m.groups()[-1].replace(":", "") for m in found if m and m.groups()[-1]}
        zone = zones.pop() if len(zones) == 1 else ""
        return "+0000" if zone == "Z" else zone

    def uid(self, path: str) -> str:
        """Return a valid unique identifier, empty if the value is none."""
        text = self.text(path, MAX_UID + 1)
        return text if UID.fullmatch(text) and len(text) <= MAX_UID else ""

    def receive_coil(self) -> str:
        """Return the coil that all channels belong to, empty if they are unnamed or of several.

        Siemens names a channel by its coil first, as in ``HeadNeck_20:1:H11``.
        """
        paths = self._root.findall("acquisitionSystemInformation/coilLabel/coilName")
        coils = {(element.text or "").strip().partition(":")[0] for element in paths}
        return as_text(coils.pop(), 16) if len(coils) == 1 else ""

    def echo_train_length(self) -> int | None:
        """Return the echo train length, None unless it is one number for all encoding spaces."""
        lengths = set(self.numbers("encoding/echoTrainLength"))
        length = lengths.pop() if len(lengths) == 1 else 0.0
        return int(length) if length.is_integer() and 0 < length < MAX_ECHOES else None

    def has_inversion(self) -> bool:
        """Return whether type of sequence or name of protocol stand for an inversion pulse.

        Some converters write an inversion time for every sequence.
        """
        paths = ("sequenceParameters/sequence_type", "measurementInformation/protocolName")
        return any(INVERSION.search(self.text(path).lower()) for path in paths)

    def parameter(self, name: str, contrast: int) -> float | None:
        """Return a sequence parameter of a contrast; a single value holds for all contrasts."""
        values = self.numbers(f"sequenceParameters/{name}")
        if not values or (contrast >= len(values) and len(values) > 1):
            return None
        return values[contrast if len(values) > 1 else 0]

    def inversion_time(self, contrast: int) -> float | None:
        """Return the inversion time of a contrast, ms; None if the sequence has no inversion."""
        time = self.parameter("TI", contrast)
        return time if time and time > 0 and self.has_inversion() else None

    def diffusion(self, counters: Mapping[str, int]) -> Diffusion | None:
        """Return the diffusion weighting of the image with these counters, None if it is unknown.

        It is unknown as well if one of the weightings in the header is not valid, or if they differ
        between averages or segments, which one image combines.
        """
        dimension = self.text("sequenceParameters/diffusionDimension")
        index, known = counters.get(dimension), self._diffusions
        if dimension == "average" or index is None or index >= len(known):
            return None
        return known[index]

    @property
    def has_diffusion(self) -> bool:
        """Whether the header describes diffusion weightings."""
        return bool(self._diffusions)

    @cached_property
    def _diffusions(self) -> list[Diffusion]:
        """Weightings in the order of the counter."""
        return read_weightings(self._root.findall("sequenceParameters/diffusion"))

    def scanning_sequence(self) -> tuple[str, str]:
        """Return ScanningSequence and SequenceVariant of a type such as ``TurboSpinEcho``.

        An inversion pulse is not part of it, see `has_inversion`.
        """
        text = self.text("sequenceParameters/sequence_type").lower()
        for words, kind in SEQUENCES:
            if any(word in text for word in words):
                return kind
        return RESEARCH_MODE
