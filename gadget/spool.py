"""Raw data of images that failed, saved for later: nothing that was acquired shall be lost."""

import re
import time
from pathlib import Path

from jrsr_core.mrd.file import write_scan
from jrsr_core.mrd.live import Task
from jrsr_core.mrd.output import publish, temporary_beside

from .console import complain
from .errors import describe


def spool(task: Task, folder: str) -> Path | None:
    """Save the lines of one image as an ISMRMRD file, which `jrsr recon` reads like any other.

    What goes wrong here is said, and never stands in the way of the image; None then.
    """
    header, counters = task.assembler.plan.header, task.counters
    name = re.sub(r"[^\w.-]+", "_", header.protocol_name or "scan")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = _unused(Path(folder), f"{name}_{stamp}_slice{counters.slice}_rep{counters.repetition}")
    temporary = None
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(path)
        write_scan(temporary, header.xml, task.lines())
        publish(temporary, path, overwrite=False)
    except (OSError, ValueError, RuntimeError) as error:
        complain(f"raw data of slice {counters.slice} not saved in {folder}: {describe(error)}")
        return None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    complain(f"raw data of slice {counters.slice} saved: {path}")
    return path


def _unused(folder: Path, stem: str) -> Path:
    path, n = folder / f"{stem}.h5", 1
    while path.exists():
        n += 1
        path = folder / f"{stem}_{n}.h5"
    return path
