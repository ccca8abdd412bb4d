"""Entry point of the `jrsr` command: runs it and turns its end into an exit code."""

import logging
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import NoReturn

from gadget.compute.process import prepare_process
from gadget.console import open_standard_streams, print_warning
from gadget.errors import Exit, describe, exit_code
from gadget.plain_text import PlainFormatter
from jrsr_core.command_line import is_abort, usage_line

from .options import app

COMMANDS = (
    *("recon", "convert", "demo", "check", "import", "simulate"),
    *("stream", "serve", "send", "health", "doctor"),
    *("models", "settings", "chains"),
)
"""Modules of this package, each with the command of its name, in the order of the help."""

for _name in COMMANDS:
    import_module(f"{__package__}.{_name}")

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code; a failure is one line on stderr."""
    prepare_process()
    open_standard_streams()
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("jrsr: %(message)s"))
    logging.basicConfig(level=logging.ERROR, handlers=[handler])
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run a command in this process and return its exit code."""
    try:
        code = app(arguments or ["--help"], "jrsr", standalone_mode=False) or Exit.DONE
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as end:
        # The shell's completion has been printed or installed.
        return end.code if isinstance(end.code, int) else Exit.DONE
    except Exception as error:
        return _explain(error)
    if code == INTERRUPTED:
        print_warning("interrupted")
    return int(code)


def _explain(error: Exception) -> int:
    """Print an error as one line and return the exit code."""
    if line := usage_line(error, "jrsr"):
        print_warning(line)
        return Exit.DECLINED
    if is_abort(error):
        print_warning("interrupted")
        return INTERRUPTED
    print_warning(describe(error))
    logging.getLogger(__name__).debug("details", exc_info=True)
    return exit_code(error)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # As an exception, SIGTERM closes the writers on its way out, like Ctrl-C.
    raise KeyboardInterrupt
