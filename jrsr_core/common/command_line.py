"""Texts that all commands of the project share; needs no library for command lines."""

import sys
from collections.abc import Mapping
from typing import Any

from .version import software_version


def version_line(name: str) -> str:
    """Return what ``--version`` of a command prints."""
    return f"{name} {software_version()}, Python {sys.version.split()[0]}"


def summaries(commands: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return name and summary of the commands that are not hidden, in their order.

    The summary is the first paragraph of the help, on one line.
    """
    return [
        (name, " ".join((command.help or "").partition("\n\n")[0].split()))
        for name, command in commands.items()
        if not command.hidden
    ]


def usage_line(error: Exception, name: str) -> str:
    """Return the line for a wrong use of a command, empty for any other error.

    Usage errors of the option parser have this mark in all versions of typer.
    """
    if not hasattr(error, "format_message"):
        return ""
    return " ".join(error.format_message().split()).rstrip(".") + f" (see {name} --help)"


def is_abort(error: Exception) -> bool:
    """Return whether the option parser was interrupted; marked so in all versions of typer."""
    return type(error).__name__ == "Abort"
