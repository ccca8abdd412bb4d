"""A Typer application whose every command has --version, -h and --quiet.

Typer draws options from the signature of a function, so the shared ones are added to it here, once.
This is the only module of `jrsr_core` that imports typer, and none of the others imports it.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from .command_line import summaries, version_line
from .signatures import with_parameters

Function = TypeVar("Function", bound=Callable[..., Any])
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print only warnings and errors.")]


class CommandGroup(TyperGroup):
    """Commands whose one-line summaries are printed whole in the help."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Print a table of commands and the first paragraph of their help."""
        with formatter.section("Commands"):
            formatter.write_dl(summaries(self.commands))


class Application(typer.Typer):
    """The commands of one program; -h, --version and --quiet belong to each of them.

    Parameters
    ----------
    name, summary
        Of the program, for its help.
    quietly
        Makes the context in which a command runs, from whether it prints no results.
    show
        Prints the line of the version.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        quietly: Callable[[bool], AbstractContextManager[None]],
        show: Callable[[str], None],
    ) -> None:
        super().__init__(
            name=name,
            help=summary,
            cls=CommandGroup,
            context_settings={"help_option_names": ["-h", "--help"]},
            pretty_exceptions_enable=False,
            rich_markup_mode=None,
        )
        self._quietly = quietly
        self._shared = {"version": _version_option(name, show), "quiet": Quiet}

        def take_shared(ctx: typer.Context, version: bool = False, quiet: bool = False) -> None:
            ctx.with_resource(quietly(quiet))

        take_shared.__annotations__ |= self._shared
        self.callback()(take_shared)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Return a decorator that adds a function as a command with the shared options."""
        register = super().command(name, **options)

        def add(function: Function) -> Function:
            register(with_parameters(function, self._shared, self._run))
            return function

        return add

    def _run(self, call: Callable[[], Any], shared: Mapping[str, Any]) -> Any:
        with self._quietly(shared["quiet"]):
            return call()


def _version_option(name: str, show: Callable[[str], None]) -> Any:
    """Return the annotation of the flag that prints the version of a program and ends it."""

    def print_version(wanted: bool) -> None:
        if wanted:
            show(version_line(name))
            raise typer.Exit()

    words = "Print the version."
    return Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help=words)
    ]
