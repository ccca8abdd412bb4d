"""Reads files that may be damaged or hostile in sandboxed subprocesses: the one defence of files.

HDF5 is a large library with a history of memory errors and endless loops on malformed files. The
subprocess has limits on memory and processor time and writes no files; each of its answers has a
limit in bytes and in seconds. A crash, a hang or an exceeded limit is a `BadScan` here.
"""

import json
import threading
from pathlib import Path

import numpy as np

from jrsr_core.common.closing import Closing
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header.scan_header import ScanHeader, parse_header
from jrsr_core.mrd.lines.acquired import HEAD_DTYPE

from .sandbox_process import SandboxLimits, SandboxProcess
from .stored_rows import MAX_ROWS

MAX_NAMES, MAX_HEADER = 2**20, 2**24
"""Bytes of the names of all groups, and of the XML header."""

ANSWER_BYTES, ANSWER_LINES = 2**26, 4096
"""Bytes of samples, and lines, that one answer holds unless a single line is larger."""


class Sandbox(Closing):
    """Subprocesses that read files; one that has read a file reads the next one.

    Every file is read in a fork with limits of its own, so that no file affects another. Several
    threads may use one sandbox. Leaving the context ends all subprocesses.

    Parameters
    ----------
    limits
        Limits for each file.
    """

    def __init__(self, limits: SandboxLimits = SandboxLimits()) -> None:  # noqa: B008
        self.limits = limits
        self._free: list[SandboxProcess] = []
        self._lock = threading.Lock()

    def take(self) -> SandboxProcess:
        """Return a subprocess without an open file, a new one where none is free."""
        with self._lock:
            return self._free.pop() if self._free else SandboxProcess(self.limits)

    def give_back(self, process: SandboxProcess) -> None:
        """Close the file of a subprocess and keep it for the next file, or end one that failed."""
        process.close_file()
        if not process.is_sound:
            process.end()
            return
        with self._lock:
            self._free.append(process)

    def holds_acquisitions(self, path: Path) -> bool:
        """Return whether a file has a group with acquisitions; True where it cannot be read."""
        process = self.take()
        try:
            process.open("acquisitions", path)
            return json.loads(bytes(process.answer(16))) is True
        except (OSError, ValueError):
            return True
        finally:
            self.give_back(process)

    def close(self) -> None:
        """End all subprocesses."""
        with self._lock:
            while self._free:
                self._free.pop().end()


class SandboxedScan(Closing):
    """A scan on disk that a subprocess reads; a `LineSource`, used as `ScanFile`.

    Attributes
    ----------
    header, heads, dataset, datasets
        As `ScanFile`.
    process
        Number of the process that reads the file; it ends with `close`.

    Raises
    ------
    FileNotFoundError
        No such file.
    BadScan
        As `ScanFile`; the subprocess died, or exceeded its limits.
    """

    def __init__(self, path: str | Path, sandbox: Sandbox, *, dataset: str = "") -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        self._sandbox = sandbox
        self._process: SandboxProcess | None = sandbox.take()
        try:
            self._process.open("scan", self.path, dataset)
            names = json.loads(bytes(self._process.answer(MAX_NAMES)))
            self.dataset: str = str(names["dataset"])
            self.datasets = tuple(map(str, names["datasets"]))
            self.process = int(names["process"])
            self.header: ScanHeader = parse_header(bytes(self._process.answer(MAX_HEADER)))
            heads = self._process.answer(MAX_ROWS * HEAD_DTYPE.itemsize)
            self.heads = np.frombuffer(heads, HEAD_DTYPE)
        except BaseException:
            self.close()
            raise

    def samples(self, indices: np.ndarray) -> np.ndarray:
        """Return complex64 ``(line, coil, sample)``; raises as `ScanFile.samples`."""
        first = self.heads[indices[0]]
        shape = int(first["active_channels"]), int(first["number_of_samples"])
        at_once = max(1, min(ANSWER_LINES, ANSWER_BYTES // max(8 * shape[0] * shape[1], 1)))
        parts = [
            self._samples(indices[start : start + at_once], shape)
            for start in range(0, len(indices), at_once)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _samples(self, indices: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        if self._process is None:
            raise BadScan("the scan is closed")
        n_bytes = 8 * len(indices) * shape[0] * shape[1]
        data = self._process.ask(indices.tolist(), n_bytes)
        if len(data) != n_bytes:
            raise BadScan(f"lines of {len(data)} bytes, their headers say {shape}")
        return np.frombuffer(data, np.complex64).reshape(len(indices), *shape)

    def other(self, dataset: str) -> "SandboxedScan":
        """Open another group of the same file."""
        return SandboxedScan(self.path, self._sandbox, dataset=dataset)

    def close(self) -> None:
        """Close the file; the subprocess goes back to the sandbox."""
        if self._process is not None:
            self._sandbox.give_back(self._process)
            self._process = None
