"""What the user sees: results on stdout, everything else on stderr, a bar on a terminal."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def say(text: str = "") -> None:
    """Write one line to stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"jrsr: {text}\n")
    sys.stderr.flush()


def progress(items: Iterable[T], total: int, name: str) -> Iterator[T]:
    """Pass items on, with a progress bar where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    # Imported here: rich takes longer to load than `jrsr --help` should.
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total, description=name)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as text with aligned columns, the first left, the others right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
