"""Text that others wrote, made safe to print.

A scan header, a weights card, a file name or a peer may send terminal escapes and line breaks. All
of it passes through `plain`, so that nothing steers a terminal or forges a line of a log.
"""

import logging
import unicodedata
from typing import Any

MAX_LINE = 2000
"""Characters of the longest line that is printed whole."""


def plain(text: str, limit: int = MAX_LINE) -> str:
    """Return text as one printable line of at most about `limit` characters.

    Control and format characters (terminal escapes, line breaks, changes of the writing direction)
    appear as their escape sequences, and so do the bytes of file names that are not UTF-8.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in cut_text(text, limit))


def cut_text(text: str, limit: int) -> str:
    """Return a text of which everything beyond `limit` characters is replaced by its length."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def _escaped(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    # A byte of a file name that is not UTF-8 (PEP 383).
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


class PlainFormatter(logging.Formatter):
    """Formatter of log records whose every line is `plain`; only a traceback has several."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the first line of a record."""
        return plain(super().formatMessage(record))

    def formatException(self, info: Any) -> str:
        """Return the traceback of a record."""
        return "\n".join(plain(line) for line in super().formatException(info).splitlines())
