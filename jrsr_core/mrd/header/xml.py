"""Parser for XML from untrusted sources: no document types, hence no entities, and size limits.

Texts are handled as `str` whose declaration, if there is one, names UTF-8 (`decode_xml`).
"""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from xml.parsers import expat

ENCODING = re.compile(r"""(\A\s*<\?xml\b[^>]*?\bencoding\s*=\s*["'])([\w.-]+)""")
TEXT_CODECS = re.compile(
    r"utf-?(8|16)|(us-?)?ascii|iso-?8859-\d{1,2}|latin-?\d|(windows-|cp)125\d", re.IGNORECASE
)
"""Declared encodings that are followed; Python knows codecs of other kinds, too."""


class XmlError(ValueError):
    """Text that is not XML, or is not accepted; the message continues the name of the text."""


@dataclass(frozen=True)
class XmlLimits:
    """Most bytes, elements, and elements nested within each other that a text may have."""

    n_bytes: int = 2**24
    n_elements: int = 200_000
    depth: int = 64


def decode_xml(data: bytes) -> str:
    """Return the text of a document in the encoding that it declares, else in UTF-8 or Latin-1.

    The declaration of the returned text names UTF-8, in which it is written again. NUL bytes at the
    end, which some clients append, are removed.
    """
    data = data.rstrip(b"\0")
    declared = ENCODING.match(data[:200].decode("latin-1"))
    name = declared[2] if declared and TEXT_CODECS.fullmatch(declared[2]) else "utf-8"
    for encoding in (name, "utf-8"):
        try:
            return declared_as_utf8(data.decode(encoding))
        except (UnicodeError, LookupError):
            continue
    return declared_as_utf8(data.decode("latin-1"))


def declared_as_utf8(text: str) -> str:
    """Return a document whose declaration, if it names an encoding, names UTF-8."""
    return ENCODING.sub(r"\g<1>UTF-8", text, count=1)


def parse_xml(text: bytes, limits: XmlLimits = XmlLimits()) -> ET.Element:
    """Return the root element; names of elements are without their namespace.

    Raises
    ------
    XmlError
        Not well formed, with a document type, or beyond a limit.
    """
    if len(text) > limits.n_bytes:
        raise XmlError(f"has {len(text)} bytes, at most {limits.n_bytes} are accepted")
    builder = ET.TreeBuilder()
    depth = n_elements = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, n_elements
        depth, n_elements = depth + 1, n_elements + 1
        if depth > limits.depth:
            raise XmlError(f"nests its elements deeper than {limits.depth}")
        if n_elements > limits.n_elements:
            raise XmlError(f"has more than {limits.n_elements} elements")
        builder.start(name.rpartition("}")[2], attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name.rpartition("}")[2])

    def doctype(name: str, *_: object) -> None:
        raise XmlError(f"has a document type ({name[:40]!r}), which is not accepted")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(text, True)
    except XmlError:
        raise
    # An encoding that is declared but unknown is a LookupError or a ValueError.
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise XmlError(f"is not readable as XML: {error}") from None
    return builder.close()
