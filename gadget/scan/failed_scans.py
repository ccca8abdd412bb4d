"""Saves the acquired lines of images that could not be reconstructed."""

import itertools
import re
import time
from pathlib import Path

from gadget.console import print_warning
from gadget.errors import describe
from jrsr_core.common.atomic import whole_file
from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.mrd.live.live_scan import Task


def save_lines(task: Task, folder: str) -> Path | None:
    """Save the lines of one image as an ISMRMRD file, which `jrsr recon` reads like any other.

    Returns
    -------
    Path or None
        The file; None after an error, which is printed and does not affect the image.
    """
    header, counters = task.assembler.plan.header, task.counters
    name = re.sub(r"[^\w.-]+", "_", header.protocol_name or "scan")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    stem = f"{name[:100]}_{stamp}_slice{counters.slice}_rep{counters.repetition}"
    path = None
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        path = _reserved(Path(folder), stem)
        with whole_file(path, overwrite=True) as temporary:
            write_scan(temporary, header.xml, task.lines())
    except (OSError, ValueError, RuntimeError) as error:
        print_warning(
            f"raw data of slice {counters.slice} not saved in {folder}: {describe(error)}"
        )
        if path is not None:
            path.unlink(missing_ok=True)
        return None
    print_warning(f"raw data of slice {counters.slice} saved: {path}")
    return path


def _reserved(folder: Path, stem: str) -> Path:
    """Make an empty file with a new name, since other scans may fail in the same second."""
    for n in itertools.count(1):
        path = folder / (f"{stem}.h5" if n == 1 else f"{stem}_{n}.h5")
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise AssertionError
