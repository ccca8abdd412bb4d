"""Starts Python subprocesses that import nothing from the current folder.

``python -m`` and ``python -c`` put the current folder in front of the import path, so that a module
beside an untrusted scan would run instead of ours. Isolated mode (``-I``) leaves the folder out on
every version of Python, but ignores PYTHONPATH too; the import path of this process is handed on.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[__name__.count(".")]
"""Folder that holds our packages."""


def isolate_subprocesses() -> None:
    """Keep the current folder off the import path of the Python processes that this one starts.

    An entry point calls this once. A value of PYTHONSAFEPATH that the user has set stays.
    """
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    if sys.version_info < (3, 11):
        _isolate_multiprocessing()


def _isolate_multiprocessing() -> None:
    """Start processes of `multiprocessing` isolated: Python 3.10 ignores PYTHONSAFEPATH.

    They receive the import path of their parent as soon as `multiprocessing` itself is imported.
    """
    from multiprocessing import util

    flags = util._args_from_interpreter_flags  # type: ignore[attr-defined]
    if "-I" not in flags():
        util._args_from_interpreter_flags = lambda: ["-I", *flags()]  # type: ignore[attr-defined]


def isolated_command(module: str, function: str) -> list[str]:
    """Return a command that calls a function of a module with the arguments appended to it."""
    code = f"import sys; sys.path[:] = {_import_path()!r}; "
    code += f"from {module} import {function}; {function}(*sys.argv[1:])"
    return [sys.executable, "-I", "-c", code]


def _import_path() -> list[str]:
    """Return the import path without the current folder, unless our packages lie in it."""
    try:
        current = Path.cwd().resolve()
    except FileNotFoundError:
        current = None
    # An empty entry is the current folder, and every relative one depends on it.
    entries = [entry for entry in sys.path if Path(entry).is_absolute()]
    return [e for e in entries if current == ROOT or Path(e).resolve() != current]
