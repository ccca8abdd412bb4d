"""Two pipes in place of the socket of a connection: a scan comes by one, images leave by one."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gadget.errors import UsageError
from gadget.inputs import check_inputs_stay
from jrsr_core.common.atomic import whole_file

STANDARD = "-"
"""Name of standard input or output."""


class Pipes:
    """A transport that reads one file descriptor and writes another.

    A pipe has no timeout: whoever writes it decides when it ends.

    Parameters
    ----------
    source, target
        File descriptors, which belong to the caller.
    """

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        self._peeked = b""

    def peek(self, n_bytes: int) -> bytes:
        """Return the first bytes without taking them; fewer where the stream ends before."""
        while len(self._peeked) < n_bytes:
            data = os.read(self._source, n_bytes - len(self._peeked))
            if not data:
                break
            self._peeked += data
        return self._peeked

    def recv_into(self, target: memoryview) -> int:
        """Read what is there into `target`; return the number of bytes, 0 at the end."""
        if self._peeked:
            n = min(len(self._peeked), len(target))
            target[:n], self._peeked = self._peeked[:n], self._peeked[n:]
            return n
        return os.readv(self._source, [target])

    def recv(self, n_bytes: int) -> bytes:
        """Return what is there, at most `n_bytes`."""
        data = bytearray(n_bytes)
        return bytes(data[: self.recv_into(memoryview(data))])

    def sendall(self, data: bytes | memoryview) -> None:
        """Write everything; raises `BrokenPipeError` where nobody reads any more."""
        view = memoryview(data).cast("B")
        while view:
            view = view[os.write(self._target, view) :]

    def settimeout(self, seconds: float | None) -> None:
        """Do nothing: a pipe has no timeout."""

    def gettimeout(self) -> None:
        """Return None: a pipe has no timeout."""

    def shutdown(self, how: int) -> None:
        """Do nothing: the descriptors belong to the caller."""

    def close(self) -> None:
        """Do nothing: the descriptors belong to the caller."""


@contextmanager
def open_pipes(source: str, target: str, *, overwrite: bool) -> Iterator[Pipes]:
    """Yield the pipes of two names, each a path or "-" for standard input or output.

    A target that is a pipe or a device is written as images come. Any other target is a file that
    appears when the stream is complete.

    Raises
    ------
    UsageError
        The input or output would be a terminal, or the output would replace the input.
    OSError
        A path cannot be opened, or the target exists.
    """
    if source == STANDARD and sys.stdin.isatty():
        raise UsageError("input is a terminal: give a stream by -i PIPE, or by ... | jrsr stream")
    if target == STANDARD and sys.stdout.isatty():
        raise UsageError("output is a terminal: give -o PIPE, or jrsr stream | ...")
    with _opened(source, os.O_RDONLY, 0) as incoming:
        if target == STANDARD:
            with _own_standard_output() as outgoing:
                yield Pipes(incoming, outgoing)
        elif _is_special(Path(target)):
            with _opened(target, os.O_WRONLY, 1) as outgoing:
                yield Pipes(incoming, outgoing)
        else:
            check_inputs_stay([Path(target)], [Path(source)])
            with whole_file(Path(target), overwrite=overwrite) as temporary:
                with _opened(str(temporary), os.O_WRONLY, 1) as outgoing:
                    yield Pipes(incoming, outgoing)


def _is_special(path: Path) -> bool:
    return path.exists() and not stat.S_ISREG(path.stat().st_mode) and not path.is_dir()


@contextmanager
def _opened(name: str, flags: int, standard: int) -> Iterator[int]:
    if name == STANDARD:
        yield standard
        return
    descriptor = os.open(name, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _own_standard_output() -> Iterator[int]:
    """Yield a descriptor of standard output; what others print there goes to stderr meanwhile."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        yield own
    finally:
        sys.stdout.flush()
        os.dup2(own, 1)
        os.close(own)
