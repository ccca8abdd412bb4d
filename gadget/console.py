"""What the user sees: results on stdout, everything else on stderr, a bar on a terminal."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PLAIN_SECONDS = 10.0
"""Time between two lines of progress where there is no terminal."""

log = logging.getLogger("jrsr")
_bars: list[Any] = []


def say(text: str = "") -> None:
    """Write one line to stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    _to_file(logging.INFO, text)


def complain(text: str) -> None:
    """Write one line to stderr, above the bar where there is one."""
    _show(text)
    _to_file(logging.WARNING, text)


def _show(text: str) -> None:
    if _bars:
        _bars[-1].console.print(f"jrsr: {text}", markup=False, highlight=False, soft_wrap=True)
    else:
        sys.stderr.write(f"jrsr: {text}\n")
        sys.stderr.flush()


@contextmanager
def log_to(path: Path | None, *, verbose: bool = False) -> Iterator[None]:
    """Append all that is said, with its time, to a file; `verbose` shows details on stderr.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    before, log.propagate = log.propagate, False
    level, handlers = log.level, []
    log.setLevel(logging.DEBUG)
    if path is not None:
        file = _FileHandler(path, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(file)
    if verbose:
        handlers.append(_Details(logging.DEBUG))
    for handler in handlers or [logging.NullHandler()]:
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in list(log.handlers):
            log.removeHandler(handler)
            handler.close()
        log.propagate = before
        log.setLevel(level)


class _FileHandler(logging.FileHandler):
    """The log file of `log_to`."""


class _Details(logging.Handler):
    """Details on stderr, by the way of `complain` but not twice into the file."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.DEBUG:
            _show(record.getMessage())


def _to_file(level: int, text: str) -> None:
    """Put into the log file what was shown already."""
    for handler in log.handlers:
        if isinstance(handler, _FileHandler):
            handler.emit(log.makeRecord(log.name, level, "", 0, text, (), None))


@contextmanager
def progress(total: int | None, name: str) -> Iterator[Callable[[], None]]:
    """Give a function to call after every step.

    On a terminal a bar shows steps, steps per second and the time left; elsewhere, as in a log, a
    line now and then. `total` is the number of steps, None where it is not known.
    """
    if not sys.stderr.isatty():
        yield _plain_lines(total, name)
        return
    # Imported here: rich takes longer to load than `jrsr --help` should.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    speed = TextColumn("{task.fields[speed]}")
    console = Console(stderr=True)
    with Progress(*columns, speed, Remaining(), console=console, transient=True) as bar:
        task = bar.add_task(name, total=total, speed="")
        _bars.append(bar)
        start, n = time.monotonic(), 0

        def tick() -> None:
            nonlocal n
            n += 1
            bar.update(task, advance=1, speed=f"{n / (time.monotonic() - start):.2g}/s")

        try:
            yield tick
        finally:
            _bars.remove(bar)


def _plain_lines(total: int | None, name: str) -> Callable[[], None]:
    start = last = time.monotonic()
    n = 0

    def tick() -> None:
        nonlocal n, last
        n += 1
        now = time.monotonic()
        if now - last < PLAIN_SECONDS or n == total:
            return
        last, speed = now, n / (now - start)
        left = f" of {total}, {(total - n) / speed:.0f} s left" if total else ""
        complain(f"{name}: {n}{left}, {speed:.2g}/s")

    return tick


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
