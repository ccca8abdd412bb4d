"""Sandboxed subprocess as its owner sees it: questions, answers within limits, and its end."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from jrsr_core.common.isolation import isolated_command
from jrsr_core.mrd.errors import BadScan, UnsupportedScan

ERRORS = {e.__name__: e for e in (BadScan, UnsupportedScan, PermissionError)}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""A process with several threads cannot fork safely."""


@dataclass(frozen=True)
class SandboxLimits:
    """Resources for reading one file.

    Attributes
    ----------
    memory
        Bytes beyond the libraries and the size of the file.
    cpu
        Seconds of processor time.
    answer
        Seconds that one answer may take, waiting included.
    """

    memory: int = 2**31
    cpu: int = 600
    answer: float = 120.0


class SandboxProcess:
    """A subprocess that reads one file at a time.

    Attributes
    ----------
    limits
        Limits for the file.
    is_sound
        False after it died or exceeded a limit.
    """

    def __init__(self, limits: SandboxLimits) -> None:
        self.limits = limits
        self.is_sound = True
        self._cause = ""
        self._process = subprocess.Popen(
            [
                *isolated_command("jrsr_core.mrd.files.sandbox_child", "serve"),
                *(str(limits.memory), str(limits.cpu)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=os.environ | ONE_THREAD,
            start_new_session=True,
        )

    def open(self, kind: str, path: Path, dataset: str = "") -> None:
        """Open a file: a "scan", "images", or whether it holds "acquisitions"."""
        self._write({"kind": kind, "path": str(path.absolute()), "dataset": dataset})

    def ask(self, question: list[int], limit: int) -> bytearray:
        """Ask a question about the open file and return the answer, as `answer`."""
        self._write(question)
        return self.answer(limit)

    def answer(self, limit: int) -> bytearray:
        """Return the next answer, of at most `limit` bytes.

        Raises
        ------
        BadScan
            An answer that is too long or takes too long; the subprocess died.
        BadScan, UnsupportedScan, PermissionError
            As raised in the subprocess.
        """
        if not self.is_sound:
            raise BadScan(self._cause)
        end = time.monotonic() + self.limits.answer
        line = b""
        while not line.endswith(b"\n"):
            line += self._read(1, end)
            if len(line) > 2**16:
                raise self._failed("the subprocess that reads the file sent a line without end")
        announced = json.loads(line)
        if "error" in announced:
            raise ERRORS.get(announced["kind"], BadScan)(announced["error"])
        n_bytes = announced["n_bytes"]
        if not 0 <= n_bytes <= limit:
            raise self._failed(f"{n_bytes} bytes were read, at most {limit} are accepted")
        data = bytearray()
        while len(data) < n_bytes:
            data += self._read(min(n_bytes - len(data), 2**20), end)
        return data

    def close_file(self) -> None:
        """Close the file, so that another can be opened, unless the subprocess is not sound."""
        with contextlib.suppress(BadScan):
            self._write(None)
            self.answer(0)

    def end(self) -> None:
        """End the subprocess."""
        self.is_sound = False
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        _pipe(self._process.stdin).close()
        _pipe(self._process.stdout).close()

    def _write(self, question: object) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):
            _pipe(self._process.stdin).write(json.dumps(question).encode() + b"\n")

    def _read(self, n_bytes: int, end: float) -> bytes:
        left = max(end - time.monotonic(), 0)
        stdout = _pipe(self._process.stdout)
        if not select.select([stdout], [], [], left)[0]:
            raise self._failed(f"reading the file takes longer than {self.limits.answer:g} s")
        data = stdout.read(n_bytes)
        if not data:
            raise self._failed(self._cause_of_death())
        return data

    def _failed(self, cause: str) -> BadScan:
        self._cause = cause
        self.end()
        return BadScan(cause)

    def _cause_of_death(self) -> str:
        code = self._process.wait(10)
        if code == -signal.SIGXCPU:
            return f"reading the file takes more than {self.limits.cpu} s of processor time"
        if code < 0:
            name, room = signal.Signals(-code).name, self.limits.memory // 2**20
            return (
                f"reading the file crashes ({name}): it is broken, or needs more than {room} MiB "
                "beyond its size"
            )
        return f"the subprocess that reads the file ended with exit code {code}"


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "opened with a pipe"
    return stream
