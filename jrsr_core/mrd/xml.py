"""Parser for XML from untrusted sources: no document types, hence no entities, and size limits."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from xml.parsers import expat


class XmlError(ValueError):
    """Text that is not XML, or is not accepted; the message continues the name of the text."""


@dataclass(frozen=True)
class XmlLimits:
    """Most bytes, elements, and elements nested within each other that a text may have."""

    n_bytes: int = 2**24
    n_elements: int = 200_000
    depth: int = 64


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
