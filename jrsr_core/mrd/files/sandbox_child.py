"""Sandboxed subprocess that reads HDF5 files for `sandbox`, each in a fork with its own limits.

The subprocess imports numpy and h5py once, but neither torch nor ismrmrd unless images are asked
for. For every file it forks; the fork sets limits on memory, processor time and files, answers
questions on stdin until the file is closed, and ends. A fork that is killed takes the subprocess
with it, by the same signal. Every answer is a line of JSON, followed by as many bytes as the line
announces; nothing is pickled.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from jrsr_core.mrd.lines.acquired import HEAD_DTYPE

from .scan import ScanFile, holds_acquisitions
from .stored_rows import MAX_ROWS


def serve(memory: str, cpu: str) -> None:
    """Read files one after the other until stdin ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if request["kind"] == "images":
            # Once for all files; it takes longer than reading one.
            from . import images  # noqa: F401
        process = os.fork()
        if process == 0:
            try:
                _read_file(request, int(memory), int(cpu))
            finally:
                os._exit(1)
        _end_as(os.waitpid(process, 0)[1])


def _end_as(status: int) -> None:
    """End this process as the fork ended, unless it closed its file."""
    if os.WIFSIGNALED(status):
        with suppress(OSError):
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    if code := os.waitstatus_to_exitcode(status):
        os._exit(code)


def _read_file(request: dict[str, str], memory: int, cpu: int) -> None:
    """Answer questions about one file until it is closed."""
    path = Path(request["path"])
    memory += min(path.stat().st_size, MAX_ROWS * HEAD_DTYPE.itemsize)
    confine(memory, cpu)
    with _errors_sent(memory):
        match request["kind"]:
            case "acquisitions":
                _send(json.dumps(holds_acquisitions(path)).encode())
            case "scan":
                _read_scan(path, request["dataset"], memory)
            case "images":
                _read_images(path, memory)
    # The file did not open, or its answer was all: the next line closes it.
    if sys.stdin.readline():
        _close()


def _questions() -> Iterator[list[int]]:
    """Yield questions; the one that closes the file ends the process."""
    for line in iter(sys.stdin.readline, ""):
        question = json.loads(line)
        if question is None:
            _close()
        yield question


def _close() -> None:
    _send(b"")
    os._exit(0)


def _read_scan(path: Path, dataset: str, memory: int) -> None:
    """Send names of groups, header and line headers, then the samples of the lines asked for."""
    with ScanFile(path, dataset=dataset) as scan:
        names = {"dataset": scan.dataset, "datasets": scan.datasets, "process": os.getpid()}
        _send(json.dumps(names).encode())
        _send(scan.header.xml.encode("utf-8"))
        _send(scan.heads.astype(HEAD_DTYPE, copy=False))
        for indices in _questions():
            with _errors_sent(memory):
                _send(scan.samples(np.asarray(indices, np.int64)))


def _read_images(path: Path, memory: int) -> None:
    """Send header, headers and attributes of all images, then the pixels asked for."""
    from .images import ImageFile

    with ImageFile(path) as images:
        _send(images.header.encode("utf-8"))
        _send(json.dumps([[s.name, len(s.heads), s.attributes] for s in images.series]).encode())
        for series in images.series:
            _send(series.heads)
        for number, i in _questions():
            with _errors_sent(memory):
                _send(images.pixels(number, i))


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


@contextmanager
def _errors_sent(memory: int) -> Iterator[None]:
    """Send an error in place of the answer."""
    try:
        yield
    except MemoryError:
        text = f"reading the file needs more than {memory // 2**20} MiB"
        _announce({"error": text, "kind": "BadScan"})
    except Exception as error:
        text = " ".join(str(error).split())[:1000]
        _announce({"error": text or type(error).__name__, "kind": type(error).__name__})


def _send(data: bytes | np.ndarray) -> None:
    raw = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else np.ascontiguousarray(data)
    _announce({"n_bytes": raw.nbytes})
    sys.stdout.buffer.write(raw.reshape(-1).view(np.uint8).data)
    sys.stdout.buffer.flush()


def _announce(answer: dict[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()
