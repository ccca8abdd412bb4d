"""Runs a command of `jrsr-train`: one line per failure, exit codes."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from jrsr_core.common.command_line import is_abort, usage_line
from jrsr_core.common.interruption import INTERRUPTED
from jrsr_core.common.os_errors import plain_os_error

from .errors import TrainingDiverged, UsageError

NAME = "jrsr-train"
BEGAN = time.monotonic()
"""When the command began; the minutes of a run count from here."""

DONE, FAILED, USAGE, DIVERGED = 0, 1, 2, 3


@contextmanager
def quietly(on: bool) -> Iterator[None]:
    """Send results nowhere; warnings and errors go to stderr."""
    if not on:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def run_command(app: Any, arguments: list[str]) -> int:
    """Run a command and return its exit code; every failure is one line on stderr.

    0 done, 1 failed, 2 wrong usage, 3 training diverged (the last good state is kept), 130
    interrupted.
    """
    try:
        code = app(args=arguments or ["--help"], prog_name=NAME, standalone_mode=False)
        code = code if isinstance(code, int) else DONE
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as end:
        # The shell's completion has been printed or installed.
        return end.code if isinstance(end.code, int) else DONE
    except Exception as error:
        text, code = explain(error)
        if not text:
            raise
        sys.stderr.write(f"{NAME}: {text}\n")
        return code
    if code == INTERRUPTED:
        sys.stderr.write(f"{NAME}: interrupted\n")
    return code


def explain(error: Exception) -> tuple[str, int]:
    """Return the line and the exit code of a failure; no line for an error in the program."""
    if line := usage_line(error, NAME):
        return line, USAGE
    if is_abort(error):
        return "interrupted", INTERRUPTED
    if isinstance(error, TrainingDiverged):
        return str(error), DIVERGED
    if isinstance(error, OSError):
        is_usage = isinstance(error, FileNotFoundError | FileExistsError)
        return " ".join(plain_os_error(error).split()), USAGE if is_usage else FAILED
    if isinstance(error, ValueError | KeyError | json.JSONDecodeError):
        text = " ".join(str(error).split()) or type(error).__name__
        return text, USAGE if isinstance(error, UsageError) else FAILED
    return "", FAILED
