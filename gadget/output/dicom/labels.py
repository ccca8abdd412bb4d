"""Reads patient, study, system and sequence from the ISMRMRD header in the form of DICOM values.

Missing or malformed values become empty, as DICOM allows; no value is invented.
"""

import re

from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.xml import XmlError, parse_xml

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


class Labels:
    """An ISMRMRD header whose elements are read by their path.

    Parameters
    ----------
    xml
        Text of the header.

    Raises
    ------
    BadScan
        The text is not XML, or XML that is not accepted.
    """

    def __init__(self, xml: str) -> None:
        self.xml = xml
        try:
            self._root = parse_xml(xml.encode("utf-8"))
        except XmlError as error:
            raise BadScan(f"header {error}") from None

    def text(self, path: str, limit: int = 64) -> str:
        """Return a text that DICOM accepts: no backslash or control characters, cut at `limit`."""
        text = (self._root.findtext(path) or "").strip().replace("\\", "/")
        return "".join(c for c in text if c.isprintable())[:limit].strip()

    def code(self, path: str) -> str:
        """Return a DICOM code string, empty if the value is none."""
        text = self.text(path).upper()
        return text if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text) else ""

    def numbers(self, path: str) -> list[float]:
        """Return all values of an element that are numbers."""
        values = []
        for element in self._root.findall(path):
            try:
                values.append(float(element.text or ""))
            except ValueError:
                continue
        return values

    def number(self, path: str) -> float | None:
        """Return the first value of an element, or None."""
        return next(iter(self.numbers(path)), None)

    def date(self, path: str) -> str:
        """Return ``2020-01-31`` as ``20200131``, empty if the value is no date."""
        digits = re.fullmatch(r"(\d{4})-?(\d{2})-?(\d{2})", self.text(path))
        return "".join(digits.groups()) if digits else ""

    def time(self, path: str) -> str:
        """Return ``12:30:59.5`` as ``123059.5``, empty if the value is no time."""
        found = re.fullmatch(r"(\d{2}):?(\d{2}):?(\d{2})(\.\d{1,6})?", self.text(path))
        return "".join(filter(None, found.groups())) if found else ""

    def uid(self, path: str) -> str:
        """Return a valid unique identifier, empty if the value is none."""
        text = self.text(path)
        return text if UID.fullmatch(text) else ""

    def scanning_sequence(self) -> tuple[str, str]:
        """Return ScanningSequence and SequenceVariant of a type such as ``TurboSpinEcho``."""
        text = self.text("sequenceParameters/sequence_type").lower()
        for words, kind in SEQUENCES:
            if any(word in text for word in words):
                return kind
        return RESEARCH_MODE
