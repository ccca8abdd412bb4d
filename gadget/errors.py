"""Exit codes of the commands, and the line that is printed for a failure."""

from collections.abc import Iterable
from enum import IntEnum

from jrsr_core.common.os_errors import plain_os_error


class Exit(IntEnum):
    """0 done; 1 failed; 2 wrong usage or unsupported scan; 3 fallback or left-out images."""

    DONE = 0
    FAILED = 1
    DECLINED = 2
    FALLBACK = 3


SEVERITY = (Exit.DONE, Exit.FALLBACK, Exit.DECLINED, Exit.FAILED)


def most_severe(codes: Iterable[Exit]) -> Exit:
    """Return the exit code of several files: failed, then declined, then fallback, then done."""
    return max(codes, key=SEVERITY.index, default=Exit.DONE)


class UsageError(ValueError):
    """A wrong option, value or path, named by the message."""


class ScanError(Exception):
    """A failure together with the name of the file or of the image in which it happened."""

    def __init__(self, name: str, cause: Exception) -> None:
        super().__init__(f"{name}: {describe(cause)}")
        self.cause = cause


def exit_code(error: BaseException) -> Exit:
    """Return the exit code of an error."""
    # Deferred: the command line starts without the reader of scans.
    from jrsr_core.mrd.errors import UnsupportedScan

    if isinstance(error, ScanError):
        return exit_code(error.cause)
    declined = (UsageError, UnsupportedScan, FileExistsError, FileNotFoundError)
    return Exit.DECLINED if isinstance(error, declined) else Exit.FAILED


def describe(error: BaseException) -> str:
    """Return an error as one line, with the name of its type if the text alone is unclear."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and (text := plain_os_error(error)):
        return " ".join(text.split())
    text = " ".join(str(error).split())
    if isinstance(error, ValueError | ScanError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
