"""No output takes the place of a file that it is made of."""

from collections.abc import Iterable
from pathlib import Path

from gadget.errors import UsageError


def check_inputs_stay(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """Raise `UsageError` if an output, under whatever name, would replace one of the inputs."""
    existing = [path for path in outputs if path.is_file()]
    for path in inputs:
        if path is not None and path.is_file() and any(map(path.samefile, existing)):
            raise UsageError(f"{path} would be replaced by its own output: name another -o")
