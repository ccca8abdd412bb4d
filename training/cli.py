"""Entry point of the `jrsr-train` command: imports its modules once a signal ends it properly."""

import sys
from typing import NoReturn

from jrsr_core.common.interruption import exit_with


def main() -> NoReturn:
    """Run the command and exit with its code; every failure is one line on stderr.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 training diverged (the last good state is kept),
    130 interrupted.
    """
    exit_with(_run, "jrsr-train")


def _run() -> int:
    from jrsr_core.common.isolation import isolate_subprocesses

    from .application import run_command
    from .commands import app

    isolate_subprocesses()
    return run_command(app, sys.argv[1:])
