"""Networks of the user: Python files that register them, named by ``--network``."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from .errors import UsageError

Networks = Annotated[
    list[Path] | None,
    typer.Option("--network", help="Python file that registers own networks (repeatable)."),
]


def run_files(files: list[Path] | None) -> None:
    """Run Python files of the user, which call `jrsr_core.register_model`.

    Raises
    ------
    UsageError
        No such file, or one that fails; the message has the error.
    """
    for path in files or ():
        if not path.is_file():
            raise UsageError(f"--network {path}: no such file")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"--network {path}: not a Python file")
        try:
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
        except Exception as error:
            text = " ".join(str(error).split())
            raise UsageError(f"--network {path}: {type(error).__name__}: {text}") from error
