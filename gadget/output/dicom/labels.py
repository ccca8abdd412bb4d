"""Texts of the ISMRMRD header that the image does not depend on: patient, study, system, sequence.

Missing or malformed values become empty, as DICOM allows; nothing is invented.
"""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.xml import XmlError, parse_xml

UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


@dataclass(frozen=True)
class Labels:
    """A header whose elements are asked for by path; `xml` is its text."""

    xml: str
    _root: ET.Element = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse; `BadScan` where it is no XML, or XML that is not accepted."""
        try:
            root = parse_xml(self.xml.encode("utf-8"))
        except XmlError as error:
            raise BadScan(f"header {error}") from None
        object.__setattr__(self, "_root", root)

    def text(self, path: str, limit: int = 64) -> str:
        """Return a text that DICOM takes: no backslash, no control characters, cut at `limit`."""
        text = (self._root.findtext(path) or "").strip().replace("\\", "/")
        return "".join(c for c in text if c.isprintable())[:limit].strip()

    def code(self, path: str) -> str:
        """Return a code string of DICOM, else nothing."""
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
        """Return ``2020-01-31`` as ``20200131``, else nothing."""
        digits = re.fullmatch(r"(\d{4})-?(\d{2})-?(\d{2})", self.text(path))
        return "".join(digits.groups()) if digits else ""

    def time(self, path: str) -> str:
        """Return ``12:30:59.5`` as ``123059.5``, else nothing."""
        found = re.fullmatch(r"(\d{2}):?(\d{2}):?(\d{2})(\.\d{1,6})?", self.text(path))
        return "".join(filter(None, found.groups())) if found else ""

    def uid(self, path: str) -> str:
        """Return a valid unique identifier, else nothing."""
        text = self.text(path)
        return text if UID.fullmatch(text) else ""
