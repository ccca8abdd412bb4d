"""Output of the commands: results on stdout, everything else on stderr, a log file if wanted.

All printed text passes through `gadget.plain_text.plain`.
"""

import errno
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from gadget.errors import UsageError, describe
from gadget.plain_text import MAX_LINE, PlainFormatter, plain
from jrsr_core.common.os_errors import reason

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_SECONDS = 10.0
"""Time between two lines of progress where stderr is not a terminal."""

MAX_JSON = 2**20
"""Characters of the longest line of JSON, which is not readable if it is cut."""

log = logging.getLogger("jrsr")

_shown = logging.getLogger("jrsr.console")
"""Lines that were printed already; `log_to` copies them into its file and nothing else does."""
_shown.propagate = False
_shown.addHandler(logging.NullHandler())

_quiet = False
"""Whether results and progress are not printed."""

_bars: list["Progress"] = []
"""Progress bars on the terminal, the innermost last."""


def open_standard_streams() -> None:
    """Open standard streams that the parent has closed: a file would take their place."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def print_line(text: str = "", *, limit: int = MAX_LINE) -> None:
    """Print one line of results to stdout; a reader that has closed it does not end the work.

    Raises
    ------
    OSError
        The disk is full to which stdout is redirected.
    """
    line = plain(text, limit)
    try:
        if not _quiet:
            _write(sys.stdout, line)
    except OSError as error:
        _discard(sys.stdout)
        if error.errno != errno.EPIPE:
            raise OSError(f"stdout cannot be written: {reason(error)}") from None
    _shown.info("%s", line)


def print_json(value: object) -> None:
    """Print a value as JSON to stdout; characters other than ASCII are escaped."""
    for line in json.dumps(value, indent=2).splitlines():
        print_line(line, limit=MAX_JSON)


def print_warning(text: str) -> None:
    """Print one line to stderr, above the progress bar if there is one."""
    line = plain(text)
    _print_message(line)
    _shown.warning("%s", line)


def _print_message(line: str) -> None:
    try:
        if _bars:
            _bars[-1].console.print(f"jrsr: {line}", markup=False, highlight=False, soft_wrap=True)
        else:
            _write(sys.stderr, f"jrsr: {line}")
    except OSError:
        # There is no other place to say so.
        _discard(sys.stderr)


def _write(stream: TextIO | None, line: str) -> None:
    """Write one line; characters that the encoding of the stream lacks are escaped."""
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _discard(stream: TextIO | None) -> None:
    """Send the rest of a stream nowhere, also what Python would flush at its end."""
    if stream is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@contextmanager
def quietly(on: bool = True) -> Iterator[None]:
    """Print no results and no progress, only warnings and errors; a log file contains all."""
    global _quiet
    before = _quiet
    _quiet = before or on
    try:
        yield
    finally:
        _quiet = before


def is_quiet() -> bool:
    """Return whether only warnings and errors are printed."""
    return _quiet


@contextmanager
def log_to(path: Path | None, *, verbose: bool = False) -> Iterator[None]:
    """Append all printed lines and details to a file, with their time.

    An error that ends the block is written as well, with its traceback.

    Parameters
    ----------
    path
        The file; None for no file.
    verbose
        Print details to stderr as well.

    Raises
    ------
    UsageError
        The folder of the file does not exist, or the file exists and is not text.
    OSError
        The file cannot be written.
    """
    handlers: list[logging.Handler] = [
        _Details(logging.DEBUG) if verbose else logging.NullHandler()
    ]
    if path is not None:
        if not path.parent.is_dir():
            raise UsageError(f"log file {path}: folder {path.parent} does not exist")
        if is_binary(path):
            raise UsageError(f"log file {path} exists and is not text: name another file")
        file = _LogFile(path, encoding="utf-8")
        file.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(file)
        _shown.addHandler(file)
    before = log.propagate, log.level
    log.propagate = False
    log.setLevel(logging.DEBUG)
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    except Exception as error:
        # Printed by the caller, after the file is closed.
        _shown.error("%s", plain(describe(error)))
        log.info("details", exc_info=True)
        raise
    except KeyboardInterrupt:
        _shown.error("interrupted")
        raise
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            _shown.removeHandler(handler)
            handler.close()
        log.propagate = before[0]
        log.setLevel(before[1])


def is_binary(path: Path) -> bool:
    """Return whether a file exists and holds something else than text."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b"\0" in file.read(4096)


class _LogFile(logging.FileHandler):
    """A log file; a full disk is one warning, and the work goes on without the log."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Print why the file cannot be written, once."""
        error = sys.exc_info()[1]
        _shown.removeHandler(self)
        log.removeHandler(self)
        why = reason(error) if error else "unknown reason"
        print_warning(f"log file {self.baseFilename} cannot be written: {why}")

    def close(self) -> None:
        """Close the file; what could not be written was reported already."""
        try:
            super().close()
        except OSError:
            pass


class _Details(logging.Handler):
    """Prints records of the level DEBUG; what is more important is printed by the commands."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.DEBUG:
            _print_message(plain(record.getMessage()))


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
    if _quiet:
        yield lambda: None
        return
    if not sys.stderr.isatty():
        yield _plain_progress(total, name)
        return
    # Deferred: rich takes longer to load than `jrsr --help` should.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    description = TextColumn("{task.description}", markup=False)
    columns = (description, BarColumn(), MofNCompleteColumn())
    speed = TextColumn("{task.fields[speed]}")
    console = Console(stderr=True)
    with Progress(*columns, speed, Remaining(), console=console, transient=True) as bar:
        task = bar.add_task(plain(name), total=total, speed="")
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
