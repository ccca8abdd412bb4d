"""Ends a command that a signal interrupts with one line and an exit code.

An entry point imports nothing else: whatever takes time is imported by the function that it runs.
"""

import signal
import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED = 130
"""Exit code after Ctrl-C and SIGTERM."""


def exit_with(run: Callable[[], int], name: str) -> NoReturn:
    """Run a command and exit with its code, also where a signal comes while it is imported.

    Parameters
    ----------
    run
        Imports the command, runs it, and returns its exit code.
    name
        Name of the command, in front of what is printed.
    """
    # As an exception, SIGTERM closes the writers on its way out, like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
        if sys.stderr is not None:
            sys.stderr.write(f"{name}: interrupted\n")
    if code == INTERRUPTED:
        _forget_interruption()
    sys.exit(code)


def _forget_interruption() -> None:
    """Let this process end with an exit code.

    Where Ctrl-C leaves code that a library runs from a text, as `dataclasses` does, Python ends a
    process of `python -m` with the signal. It forgets this as soon as other such code runs.
    """
    exec("")
