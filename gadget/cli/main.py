"""Entry point of the `jrsr` command: its modules are imported once a signal ends it properly."""

import sys
from typing import NoReturn

from jrsr_core.common.interruption import exit_with


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code; a failure is one line on stderr."""

    def run_it() -> int:
        from .commands import run_process

        return run_process(sys.argv[1:] if arguments is None else arguments)

    exit_with(run_it, "jrsr")


def run(arguments: list[str]) -> int:
    """Run a command in this process and return its exit code."""
    from .commands import run_command

    return run_command(arguments)
