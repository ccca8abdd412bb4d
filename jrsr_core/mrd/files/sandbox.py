"""A file of strangers, opened by a child process that may not use much.

HDF5 is a large library with a history of memory errors on malformed files. The child has limits on
memory and processor time, writes no files, and is ended with its scan; a crash of it is a `BadScan`
here. Between the two go lines of JSON, each with the bytes it announces; nothing is pickled.
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

import numpy as np

from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.header import ScanHeader, parse_header
from jrsr_core.mrd.lines import HEAD_DTYPE

from .hdf5_checks import FileLimits

ERRORS = {"BadScan": BadScan, "UnsupportedScan": UnsupportedScan}


@dataclass(frozen=True)
class SandboxLimits:
    """What the child may use: bytes of memory beyond its libraries, seconds of processor time.

    `answer` is the time in seconds, waiting included, that one answer may take.
    """

    memory: int = 2**31
    cpu: int = 600
    answer: float = 120.0


class SandboxedScan:
    """A scan on disk, a `LineSource`; used as `ScanFile`.

    Raises
    ------
    FileNotFoundError
        No such file.
    BadScan
        As `ScanFile`; the child died, or used more than it may.
    """

    def __init__(self, path: str | Path, limits: SandboxLimits = SandboxLimits()) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        self._limits = limits
        self._child = subprocess.Popen(
            [
                *(sys.executable, "-m", __name__, str(self.path.absolute())),
                *(str(limits.memory), str(limits.cpu)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        try:
            sizes = FileLimits()
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
            self._child.stdin.write(json.dumps(indices.tolist()).encode() + b"\n")
        data = self._answer(8 * shape[0] * shape[1] * shape[2])
        if len(data) != 8 * shape[0] * shape[1] * shape[2]:
            raise BadScan(f"lines of {len(data)} bytes, their heads say {shape}")
        return np.frombuffer(data, np.complex64).reshape(shape)

    def _answer(self, limit: int) -> bytearray:
        end = time.monotonic() + self._limits.answer
        line = b""
        while not line.endswith(b"\n"):
            line += self._read(1, end)
            if len(line) > 2**16:
                raise BadScan("the reader of the file sent nonsense")
        told = json.loads(line)
        if "error" in told:
            raise ERRORS.get(told["kind"], BadScan)(told["error"])
        if not 0 <= told["n_bytes"] <= limit:
            raise BadScan(f"{told['n_bytes']} bytes were read, at most {limit} are accepted")
        data = bytearray()
        while len(data) < told["n_bytes"]:
            data += self._read(min(told["n_bytes"] - len(data), 2**20), end)
        return data

    def _read(self, n_bytes: int, end: float) -> bytes:
        left = max(end - time.monotonic(), 0)
        if not select.select([self._child.stdout], [], [], left)[0]:
            raise BadScan(f"reading the file takes longer than {self._limits.answer:g} s")
        data = self._child.stdout.read(n_bytes)
        if not data:
            raise BadScan(self._last_words())
        return data

    def _last_words(self) -> str:
        code = self._child.wait(10)
        if code == -signal.SIGXCPU:
            return f"reading the file takes more than {self._limits.cpu} s of processor time"
        if code < 0:
            name, room = signal.Signals(-code).name, self._limits.memory // 2**20
            return f"reading the file crashes ({name}): it is broken or needs more than {room} MiB"
        return f"the reader of the file ended with exit code {code}"

    def close(self) -> None:
        """End the child."""
        self._child.kill()
        self._child.wait()
        self._child.stdin.close()
        self._child.stdout.close()

    def __enter__(self) -> "SandboxedScan":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


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


def _serve(path: str, memory: str, cpu: str) -> None:
    """Be the child: send header and heads, then the samples that are asked for."""
    from .scan import ScanFile

    confine(int(memory), int(cpu))
    try:
        with ScanFile(path) as scan:
            _send(scan.header.xml.encode("utf-8"))
            _send(scan.heads.astype(HEAD_DTYPE).tobytes())
            for line in sys.stdin:
                _send(scan.samples(np.asarray(json.loads(line), np.int64)).tobytes())
    except MemoryError:
        text = f"reading the file needs more than {int(memory) // 2**20} MiB"
        _tell({"error": text, "kind": "BadScan"})
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())[:1000]
        _tell({"error": text, "kind": type(error).__name__})


def _send(data: bytes) -> None:
    _tell({"n_bytes": len(data)})
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _tell(answer: dict[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
