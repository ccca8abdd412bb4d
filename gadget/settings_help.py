"""What `jrsr settings` prints: every property, from the documentation of `Settings` itself."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields

from .settings import Settings


def settings_lines() -> Iterator[str]:
    """Yield names and defaults, and below them what they mean."""
    defaults = {f.name: f.default for f in fields(Settings)}
    for names, text in documented():
        shown = (f"{name}={str(defaults[name]).lower()}" for name in names)
        yield "  ".join(shown)
        yield from textwrap.wrap(text, 92, initial_indent="    ", subsequent_indent="    ")


def documented() -> list[tuple[list[str], str]]:
    """Return (names, meaning) of the section Attributes."""
    text = textwrap.dedent("    " + (Settings.__doc__ or "")).partition("----------\n")[2]
    found: list[tuple[list[str], str]] = []
    for line in text.splitlines():
        if re.match(r"[a-z]", line):
            found.append((line.split(", "), ""))
        elif line.strip():
            names, so_far = found[-1]
            found[-1] = (names, f"{so_far} {line.strip()}".strip())
    return found
