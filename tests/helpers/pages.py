"""The pages of the project as data: links, anchors, code blocks and what they name."""

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .paths import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SKIPPED = {".git", ".venv", "build", "dist", "runs", "node_modules"}


@dataclass(frozen=True)
class Command:
    """One command of a `bash` block, without its comment, on one line."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


@cache
def pages() -> tuple[Path, ...]:
    """All Markdown pages of the checkout."""
    found = (p.relative_to(ROOT) for p in ROOT.rglob("*.md"))
    return tuple(sorted(p for p in found if not SKIPPED & set(p.parts) and p.parts[0][0] != "."))


@cache
def text_of(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return [code for kind, code in FENCE.findall(text_of(page)) if kind == language]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", text_of(page))


def code_spans(page: Path) -> list[str]:
    """Inline code, with line breaks as spaces."""
    return [" ".join(s.split()) for s in re.findall(r"`([^`]+)`", prose(page))]


def links(page: Path) -> list[str]:
    """Targets of links and pictures, without those in code."""
    return LINK.findall(re.sub(r"`[^`]*`", "", prose(page)))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of the headings, as GitHub makes them."""
    found: dict[str, int] = {}
    made = set()
    for heading in HEADING.findall(prose(page)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        n = found[slug] = found.get(slug, -1) + 1
        made.add(f"{slug}-{n}" if n else slug)
    return frozenset(made)


def commands(page: Path) -> list[Command]:
    """The commands of all `bash` blocks, in their order."""
    found = []
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            text = re.sub(r"(^|\s)#\s.*$", "", line).strip()
            if text:
                found.append(Command(str(page), " ".join(text.split())))
    return found
