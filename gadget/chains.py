"""The chain files of Gadgetron, which are package data of `xml_chains`."""

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from gadget.errors import UsageError
from jrsr_core.common.atomic import check_target, write_together

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

PACKAGE = "xml_chains"


def chain_files() -> "list[Traversable]":
    """Return the installed chain files in the order of their names.

    Raises
    ------
    FileNotFoundError
        The package is installed without them.
    """
    try:
        found = [f for f in files(PACKAGE).iterdir() if f.name.endswith(".xml")]
    except ModuleNotFoundError:
        found = []
    if not found:
        raise FileNotFoundError("the chain files are not installed: pip install gadgetron-jrsr")
    return sorted(found, key=lambda file: file.name)


def purpose(text: str) -> str:
    """Return the comment at the beginning of a chain on one line."""
    comment = re.search(r"<!--(.*?)-->", text, re.DOTALL)
    return " ".join(comment[1].split()) if comment else ""


def write_chains(folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write all chain files to a folder, which is made if it does not exist; return their paths.

    Raises
    ------
    UsageError
        The folder is a file.
    FileExistsError
        One of the files exists and `overwrite` is False; none is written then.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, expected a folder")
    contents = {folder / file.name: file.read_bytes() for file in chain_files()}
    folder.mkdir(parents=True, exist_ok=True)
    for path in contents:
        check_target(path, overwrite=overwrite)
    write_together(contents)
    return list(contents)
