"""Reads a scan file from an untrusted source in a sandboxed subprocess.

HDF5 is a large library with a history of memory errors on malformed files. The subprocess has
limits on memory and processor time and writes no files; a crash of it is a `BadScan` here. It sends
lines of JSON, each followed by as many bytes as the line announces; nothing is unpickled.

The subprocess imports this module, hence numpy and h5py, but neither torch nor ismrmrd.
"""

import contextlib
import json
import resource
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.header import ScanHeader, parse_header
from jrsr_core.mrd.lines import HEAD_DTYPE

from .chunks import FileLimits
from .isolation import isolated_command
from .scan import ScanFile

MAX_NAMES = 2**20
"""Bytes that the names of all groups may take."""

ERRORS = {"BadScan": BadScan, "UnsupportedScan": UnsupportedScan}


@dataclass(frozen=True)
class SandboxLimits:
    """Resources of the subprocess: bytes of memory beyond its libraries, seconds of processor time.

    `answer` is the time in seconds, waiting included, that one answer may take.
    """

    memory: int = 2**31
    cpu: int = 600
    answer: float = 120.0


class SandboxedScan:
    """A scan on disk that a subprocess reads; a `LineSource`, used as `ScanFile`.

    Attributes
    ----------
    header, heads, dataset, datasets
        As `ScanFile`.
    limits
        Limits of the subprocess.
    process
        The subprocess; it ends with `close`.

    Raises
    ------
    FileNotFoundError
        No such file.
    BadScan
        As `ScanFile`; the subprocess died, or exceeded its limits.
    """

    def __init__(
        self, path: str | Path, limits: SandboxLimits = SandboxLimits(), *, dataset: str = ""
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        self.limits = limits
        self.process = subprocess.Popen(
            [
                *isolated_command("jrsr_core.mrd.files.sandbox", "serve"),
                str(self.path.absolute()),
                *(str(limits.memory), str(limits.cpu), dataset),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        try:
            sizes = FileLimits()
            names = json.loads(bytes(self._answer(MAX_NAMES)))
            self.dataset: str = str(names["dataset"])
            self.datasets = tuple(map(str, names["datasets"]))
            self.header: ScanHeader = parse_header(bytes(self._answer(sizes.header)))
            heads = self._answer(sizes.lines * HEAD_DTYPE.itemsize)
            self.heads = np.frombuffer(heads, HEAD_DTYPE)
        except BaseException:
            self.close()
            raise

    def samples(self, indices: np.ndarray) -> np.ndarray:
        """Return complex64 ``(line, coil, sample)``; raises as `ScanFile.samples`."""
        first = self.heads[indices[0]]
        shape = (len(indices), int(first["active_channels"]), int(first["number_of_samples"]))
        with contextlib.suppress(BrokenPipeError):
            _pipe(self.process.stdin).write(json.dumps(indices.tolist()).encode() + b"\n")
        data = self._answer(8 * shape[0] * shape[1] * shape[2])
        if len(data) != 8 * shape[0] * shape[1] * shape[2]:
            raise BadScan(f"lines of {len(data)} bytes, their headers say {shape}")
        return np.frombuffer(data, np.complex64).reshape(shape)

    def _answer(self, limit: int) -> bytearray:
        end = time.monotonic() + self.limits.answer
        line = b""
        while not line.endswith(b"\n"):
            line += self._read(1, end)
            if len(line) > 2**16:
                raise BadScan("the subprocess that reads the file sent a line without end")
        announced = json.loads(line)
        if "error" in announced:
            raise ERRORS.get(announced["kind"], BadScan)(announced["error"])
        if not 0 <= announced["n_bytes"] <= limit:
            raise BadScan(f"{announced['n_bytes']} bytes were read, at most {limit} are accepted")
        data = bytearray()
        while len(data) < announced["n_bytes"]:
            data += self._read(min(announced["n_bytes"] - len(data), 2**20), end)
        return data

    def _read(self, n_bytes: int, end: float) -> bytes:
        left = max(end - time.monotonic(), 0)
        stdout = _pipe(self.process.stdout)
        if not select.select([stdout], [], [], left)[0]:
            raise BadScan(f"reading the file takes longer than {self.limits.answer:g} s")
        data = stdout.read(n_bytes)
        if not data:
            raise BadScan(self._cause_of_death())
        return data

    def _cause_of_death(self) -> str:
        code = self.process.wait(10)
        if code == -signal.SIGXCPU:
            return f"reading the file takes more than {self.limits.cpu} s of processor time"
        if code < 0:
            name, room = signal.Signals(-code).name, self.limits.memory // 2**20
            return f"reading the file crashes ({name}): it is broken or needs more than {room} MiB"
        return f"the subprocess that reads the file ended with exit code {code}"

    def close(self) -> None:
        """End the subprocess."""
        self.process.kill()
        self.process.wait()
        _pipe(self.process.stdin).close()
        _pipe(self.process.stdout).close()

    def __enter__(self) -> "SandboxedScan":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "opened with a pipe"
    return stream


def confine(memory: int, cpu: int) -> None:
    """Limit this process from here on: bytes of memory and seconds more than it has used."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + cpu
    for what, limit in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        resource.setrlimit(what, (limit, limit + (what == resource.RLIMIT_CPU)))


def serve(path: str, memory: str, cpu: str, dataset: str) -> None:
    """Send names of groups, header, line headers, then the samples asked for: the subprocess."""
    confine(int(memory), int(cpu))
    try:
        with ScanFile(path, dataset=dataset) as scan:
            names = {"dataset": scan.dataset, "datasets": scan.datasets}
            _send(json.dumps(names).encode())
            _send(scan.header.xml.encode("utf-8"))
            _send(scan.heads.astype(HEAD_DTYPE).tobytes())
            for line in sys.stdin:
                _send(scan.samples(np.asarray(json.loads(line), np.int64)).tobytes())
    except MemoryError:
        text = f"reading the file needs more than {int(memory) // 2**20} MiB"
        _announce({"error": text, "kind": "BadScan"})
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())[:1000]
        _announce({"error": text, "kind": type(error).__name__})


def _send(data: bytes) -> None:
    _announce({"n_bytes": len(data)})
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _announce(answer: dict[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()
