"""Stopping long computations from outside: a time limit, or a peer that has gone.

Iterative solvers and loops over positions call `checkpoint` once per step; `watched` says what is
looked at there. A kernel that is running is not interrupted.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Check = Callable[[], None]

_watch: ContextVar[Check | None] = ContextVar("watch", default=None)


class TimeLimit(RuntimeError):
    """A computation took longer than it may."""


class Cancelled(Exception):
    """Nobody waits for the result any more."""


def current_check() -> Check:
    """Return the watch of this thread, for another thread to look at."""
    return _watch.get() or (lambda: None)


def checkpoint() -> None:
    """Raise what the watch of this thread raises; without one do nothing."""
    current_check()()


@contextmanager
def watched(check: Check) -> Iterator[None]:
    """Let `checkpoint` call `check` within the context, in the place of any watch around it."""
    token = _watch.set(check)
    try:
        yield
    finally:
        _watch.reset(token)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimit` at the first checkpoint after so many seconds; 0 for no limit."""
    outer, end = current_check(), time.monotonic() + seconds

    def check() -> None:
        outer()
        if seconds and time.monotonic() > end:
            raise TimeLimit(f"took longer than the time limit of {seconds:g} s")

    with watched(check):
        yield
