"""A scan on its way into files."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gadget.compute.engine import Engine
from gadget.scan.inspect import Inspection
from gadget.settings import Settings
from jrsr_core.mrd.assemble import Assembler


@dataclass(frozen=True, eq=False)
class ScanJob:
    """Where the scan comes from, what is in it, what assembles and what computes it."""

    source: Path
    found: Inspection
    slices: Assembler
    engine: Engine
    settings: Settings

    @property
    def header_xml(self) -> str:
        """Text of the scan header."""
        return self.found.plan.header.xml


# FOLDED gadget/export/folder.py: A folder of files that appears complete or not at all.
def check_folder(path: Path, suffix: str, *, overwrite: bool) -> None:
    """Raise before any work is done if the folder may not be written.

    An existing one is replaced only if it holds nothing but files of this suffix: a folder of
    something else has got there by mistake.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists, --overwrite replaces it")
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file, expected a folder")
    if path.is_dir() and (strangers := [p.name for p in path.iterdir() if p.suffix != suffix]):
        raise FileExistsError(f"{path} holds {strangers[0]}, only {suffix} files are replaced")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"folder {path.parent} is not writable")


def folder_beside(path: Path) -> Path:
    """Create an empty hidden folder beside `path`, so that a rename can finish the job."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)
    return folder


def publish_folder(temporary: Path, path: Path, suffix: str, *, overwrite: bool) -> None:
    """Move a finished folder to its place; raises as `check_folder`."""
    check_folder(path, suffix, overwrite=overwrite)
    if not path.exists():
        temporary.rename(path)
        return
    old = folder_beside(path)
    path.rename(old / path.name)
    try:
        temporary.rename(path)
    except BaseException:
        (old / path.name).rename(path)
        raise
    finally:
        shutil.rmtree(old)
