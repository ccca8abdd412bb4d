"""What the user sees: results on stdout, everything else on stderr, a bar on a terminal."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


def say(text: str = "") -> None:
    """Write one line to stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"jrsr: {text}\n")
    sys.stderr.flush()


@contextmanager
def progress(total: int | None, name: str) -> Iterator[Callable[[], None]]:
    """Give a function to call after every step; a bar shows them where stderr is a terminal.

    `total` is the number of steps, None where it is not known.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    # Imported here: rich takes longer to load than `jrsr --help` should.
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda: bar.advance(task)


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
