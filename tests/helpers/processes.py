"""Processes and tools that tests start, and the one time-out for whatever a test waits for."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PATIENCE = 200.0
"""Seconds after which a test gives up; nothing is measured by it."""

PACKAGES = {
    "bart": "BART",
    "dciodvfy": "Debian's dicom3tools",
    "dcentvfy": "Debian's dicom3tools",
    "dcm2niix": "PyPI's dcm2niix",
    "dcm2pnm": "Debian's dcmtk",
    "dcmdump": "Debian's dcmtk",
    "ismrmrd_generate_cartesian_shepp_logan": "Debian's ismrmrd-tools",
    "ismrmrd_recon_cartesian_2d": "Debian's ismrmrd-tools",
}
"""Tool -> what has it."""


def run_process(command: list[object], **options: object) -> subprocess.CompletedProcess:
    """Run a process to its end; return its exit code and output: text, or bytes for such input."""
    if not isinstance(options.get("input"), bytes):
        options = {"text": True} | options
    options = {"capture_output": True, "timeout": PATIENCE} | options
    kept = (str, bytes, os.PathLike)
    words = [part if isinstance(part, kept) else str(part) for part in command]
    return subprocess.run(words, **options)


def wait_until(condition: Callable[[], object], what: object = "") -> None:
    """Wait for something that happens in another thread or process."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.01)


def tool(name: str) -> str | None:
    """Return where a program is: beside the interpreter, or on the PATH; None where it is not.

    Beside the interpreter is the version that this project pins; a system may have an older one.
    """
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return shutil.which(name, path=os.pathsep.join(places))


def needs(name: str) -> pytest.MarkDecorator:
    """Skip a test where a program is missing."""
    return pytest.mark.skipif(tool(name) is None, reason=f"{PACKAGES[name]} not installed")
