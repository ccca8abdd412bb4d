"""BART as a peer: arrays to its files, a command timed as a whole, its result back."""

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np


def is_there():
    """Whether the command `bart` is installed."""
    return shutil.which("bart") is not None


def write(path, array):
    """Write a complex array, first axis fastest as BART has it."""
    shape = (*array.shape, *(1,) * (16 - array.ndim))
    Path(f"{path}.hdr").write_text("# Dimensions\n" + " ".join(map(str, shape)) + "\n")
    np.asfortranarray(array).astype("<c8").ravel("F").tofile(f"{path}.cfl")


def read(path):
    """Return the array of a BART file without axes of size one at its end."""
    shape = [int(n) for n in Path(f"{path}.hdr").read_text().splitlines()[1].split()]
    while len(shape) > 1 and shape[-1] == 1:
        shape.pop()
    return np.fromfile(f"{path}.cfl", "<c8").reshape(shape, order="F")


def seconds(command, folder, repeat):
    """Best wall-clock time of ``bart <command>`` in a folder, reading and writing its files."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        subprocess.run(["bart", *command.split()], cwd=folder, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def no_work(folder, repeat):
    """Return what starting the command costs."""
    return seconds("version", folder, repeat)
