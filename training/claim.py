"""One run in a folder at a time: two would overwrite each other's checkpoints.

The lock is the kernel's and goes with the process, however that ends; the file stays and says
nothing.
"""

import fcntl
from pathlib import Path
from typing import IO

NAME = "run.lock"


def claim(folder: Path) -> IO[str] | None:
    """Return the lock of a folder, to be closed at the end; None where the file system has none.

    Raises
    ------
    ValueError
        Another run holds it.
    """
    file = (folder / NAME).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(f"{folder}: another run is at work in this folder") from None
    except OSError:
        file.close()
        return None
    return file
