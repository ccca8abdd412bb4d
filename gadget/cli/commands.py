"""The commands of `jrsr`: runs one and turns its end into an exit code."""

import logging
from importlib import import_module

from gadget.compute.process import prepare_process
from gadget.console import open_standard_streams, print_warning
from gadget.errors import Exit, describe, exit_code
from gadget.plain_text import PlainFormatter
from jrsr_core.common.command_line import is_abort, usage_line
from jrsr_core.common.interruption import INTERRUPTED

from .options import app

COMMANDS = (
    *("recon", "convert", "demo", "check", "import", "simulate"),
    *("stream", "serve", "send", "health", "doctor"),
    *("models", "settings", "chains"),
)
"""Modules of this package, each with the command of its name, in the order of the help."""

for _name in COMMANDS:
    import_module(f"{__package__}.{_name}")


def run_process(arguments: list[str]) -> int:
    """Prepare this process, which is the command's own, run a command and return its exit code."""
    prepare_process()
    open_standard_streams()
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("jrsr: %(message)s"))
    logging.basicConfig(level=logging.ERROR, handlers=[handler])
    return run_command(arguments)


def run_command(arguments: list[str]) -> int:
    """Run a command in this process and return its exit code; a failure is one line on stderr."""
    try:
        code = app(arguments or ["--help"], "jrsr", standalone_mode=False) or Exit.DONE
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as end:
        # The shell's completion has been printed or installed.
        return end.code if isinstance(end.code, int) else Exit.DONE
    except Exception as error:
        code = _explain(error)
    if code == INTERRUPTED:
        print_warning("interrupted")
    return int(code)


def _explain(error: Exception) -> int:
    """Print an error as one line, but for an interruption, and return the exit code."""
    if is_abort(error):
        return INTERRUPTED
    if line := usage_line(error, "jrsr"):
        print_warning(line)
        return Exit.DECLINED
    print_warning(describe(error))
    logging.getLogger(__name__).debug("details", exc_info=True)
    return exit_code(error)
