"""A Typer application whose every command has --version, -h and --quiet.

Typer draws options from the signature of a function, so the shared ones are added to it here, once.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from gadget.console import print_line, quietly
from jrsr_core.common.command_line import summaries, version_line
from jrsr_core.common.signatures import with_parameters

Function = TypeVar("Function", bound=Callable[..., Any])


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(version_line("jrsr"))
        raise typer.Exit()


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print only warnings and errors.")]

SHARED = {"version": Version, "quiet": Quiet}
"""Options of every command."""


class CommandGroup(TyperGroup):
    """Commands whose one-line summaries are printed whole in the help."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Print a table of commands and the first paragraph of their help."""
        with formatter.section("Commands"):
            formatter.write_dl(summaries(self.commands))


class Application(typer.Typer):
    """The commands of `jrsr`; -h, --version and --quiet belong to each of them."""

    def __init__(self, **options: Any) -> None:
        context = {"help_option_names": ["-h", "--help"]}
        super().__init__(cls=CommandGroup, context_settings=context, **options)
        self.callback()(_take_shared)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Return a decorator that adds a function as a command with the shared options."""
        register = super().command(name, **options)

        def add(function: Function) -> Function:
            register(with_parameters(function, SHARED, _run))
            return function

        return add


def _take_shared(ctx: typer.Context, version: Version = False, quiet: Quiet = False) -> None:
    ctx.with_resource(quietly(quiet))


def _run(call: Callable[[], Any], shared: Mapping[str, Any]) -> Any:
    with quietly(shared["quiet"]):
        return call()
