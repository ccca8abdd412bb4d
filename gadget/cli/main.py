"""The `jrsr` command: runs one of `commands` and turns its end into an exit code."""

import logging
import signal
import sys
from typing import Any

from gadget.compute.process import prepare_process
from gadget.console import complain
from gadget.errors import Exit, describe, exit_code

from . import files, listing, live, simulate  # noqa: F401
from .options import app

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; every failure is one line on stderr."""
    prepare_process()
    logging.basicConfig(level=logging.ERROR, format="jrsr: %(message)s")
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(int(_run(arguments)))


def _run(arguments: list[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments or ["--help"], "jrsr", standalone_mode=False) or Exit.DONE
    except (KeyboardInterrupt, SystemExit):
        code = INTERRUPTED
    except Exception as error:
        return _explain(error)
    if code == INTERRUPTED:
        complain("interrupted")
    return code


def _explain(error: Exception) -> int:
    """Say what went wrong in one line and return the exit code."""
    # Usage errors and interrupts of the option parser, whichever library typer has it from.
    if hasattr(error, "format_message"):
        complain(" ".join(error.format_message().split()).rstrip(".") + " (see jrsr --help)")
        return Exit.DECLINED
    if type(error).__name__ == "Abort":
        complain("interrupted")
        return INTERRUPTED
    complain(describe(error))
    logging.getLogger(__name__).debug("details", exc_info=True)
    return exit_code(error)


def _terminate(number: int, frame: Any) -> None:
    # As an exception it closes writers on its way out, like Ctrl-C.
    raise KeyboardInterrupt
