"""Exit codes of the commands, and the one line that goes with each failure."""

from enum import IntEnum


class Exit(IntEnum):
    """0 done; 1 failed; 2 wrong usage or a scan that is declined; 3 done with fallback images."""

    DONE = 0
    FAILED = 1
    DECLINED = 2
    FALLBACK = 3


class UsageError(ValueError):
    """A wrong option, value or path; the message names it."""


class ScanError(Exception):
    """A failure with the file it happened in, ready to be shown."""

    def __init__(self, name: str, cause: Exception) -> None:
        super().__init__(f"{name}: {describe(cause)}")
        self.cause = cause


def exit_code(error: BaseException) -> Exit:
    """Return the exit code of an error."""
    # Imported here: the command line has to start without torch.
    from jrsr_core.mrd.errors import UnsupportedScan

    if isinstance(error, ScanError):
        return exit_code(error.cause)
    declined = (UsageError, UnsupportedScan, FileExistsError, FileNotFoundError)
    return Exit.DECLINED if isinstance(error, declined) else Exit.FAILED


def describe(error: BaseException) -> str:
    """Return the error as one line."""
    if isinstance(error, MemoryError):
        return "out of memory"
    text = " ".join(str(error).split())
    if isinstance(error, ValueError | ScanError) or (isinstance(error, OSError) and text):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
