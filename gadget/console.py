"""Output of the commands: results on stdout, everything else on stderr, a log file if wanted."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_SECONDS = 10.0
"""Time between two lines of progress where stderr is not a terminal."""

log = logging.getLogger("jrsr")

_shown = logging.getLogger("jrsr.console")
"""Lines that were printed already; `log_to` copies them into its file and nothing else does."""
_shown.propagate = False
_shown.addHandler(logging.NullHandler())

_bars: list["Progress"] = []
"""Progress bars on the terminal, the innermost last."""


def print_line(text: str = "") -> None:
    """Print one line of results to stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    _shown.info("%s", text)


def print_warning(text: str) -> None:
    """Print one line to stderr, above the progress bar if there is one."""
    _print_message(text)
    _shown.warning("%s", text)


def _print_message(text: str) -> None:
    if _bars:
        _bars[-1].console.print(f"jrsr: {text}", markup=False, highlight=False, soft_wrap=True)
    else:
        sys.stderr.write(f"jrsr: {text}\n")
        sys.stderr.flush()


@contextmanager
def log_to(path: Path | None, *, verbose: bool = False) -> Iterator[None]:
    """Append all printed lines and details to a file, with their time.

    Parameters
    ----------
    path
        The file; None for no file.
    verbose
        Print details to stderr as well.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    handlers: list[logging.Handler] = [
        _Details(logging.DEBUG) if verbose else logging.NullHandler()
    ]
    if path is not None:
        file = logging.FileHandler(path, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(file)
        _shown.addHandler(file)
    before = log.propagate, log.level
    log.propagate = False
    log.setLevel(logging.DEBUG)
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            _shown.removeHandler(handler)
            handler.close()
        log.propagate = before[0]
        log.setLevel(before[1])


class _Details(logging.Handler):
    """Prints records of the level DEBUG; what is more important is printed by the commands."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.DEBUG:
            _print_message(record.getMessage())


@contextmanager
def progress(total: int | None, name: str) -> Iterator[Callable[[], None]]:
    """Show the progress of a loop: a bar on a terminal, otherwise a line every ten seconds.

    Parameters
    ----------
    total
        Number of steps, None if it is unknown.
    name
        Printed in front.

    Yields
    ------
    Callable
        To be called after every step.
    """
    if not sys.stderr.isatty():
        yield _plain_progress(total, name)
        return
    # Deferred: rich takes longer to load than `jrsr --help` should.
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


def _plain_progress(total: int | None, name: str) -> Callable[[], None]:
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
        print_warning(f"{name}: {n}{left}, {speed:.2g}/s")

    return tick
