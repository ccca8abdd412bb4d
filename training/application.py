"""The application of `jrsr-train`: shared options, one line per failure, exit codes."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from jrsr_core.common.command_line import is_abort, summaries, usage_line, version_line
from jrsr_core.common.interruption import INTERRUPTED
from jrsr_core.common.os_errors import plain_os_error
from jrsr_core.common.signatures import with_parameters

from .errors import TrainingDiverged, UsageError

Function = TypeVar("Function", bound=Callable[..., Any])

NAME = "jrsr-train"
BEGAN = time.monotonic()
"""When the command began; the minutes of a run count from here."""

DONE, FAILED, USAGE, DIVERGED = 0, 1, 2, 3


class CommandGroup(TyperGroup):
    """Commands whose one-line summaries are printed whole in the help."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Print a table of commands and the first paragraph of their help."""
        with formatter.section("Commands"):
            formatter.write_dl(summaries(self.commands))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version_line(NAME))
        raise typer.Exit()


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print only warnings and errors.")]

SHARED = {"version": Version, "quiet": Quiet}
"""Options of every command."""


class Application(typer.Typer):
    """The commands of `jrsr-train`; -h, --version and --quiet belong to each of them."""

    def __init__(self, summary: str) -> None:
        super().__init__(
            name=NAME,
            help=summary,
            cls=CommandGroup,
            context_settings={"help_option_names": ["-h", "--help"]},
            pretty_exceptions_enable=False,
            rich_markup_mode=None,
        )
        self.callback()(_take_shared)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Return a decorator that adds a function as a command with the shared options."""
        register = super().command(name, **options)

        def add(function: Function) -> Function:
            register(with_parameters(function, SHARED, _run))
            return function

        return add


def _take_shared(ctx: typer.Context, version: Version = False, quiet: Quiet = False) -> None:
    ctx.with_resource(_quietly(quiet))


def _run(call: Callable[[], Any], shared: Mapping[str, Any]) -> Any:
    with _quietly(shared["quiet"]):
        return call()


@contextmanager
def _quietly(on: bool) -> Iterator[None]:
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
