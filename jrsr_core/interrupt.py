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


def checkpoint() -> None:
    """Raise what the watch of this thread raises; without one do nothing."""
    check = _watch.get()
    if check is not None:
        check()


@contextmanager
def watched(check: Check) -> Iterator[None]:
    """Let `checkpoint` call `check` within the context, besides any watch around it."""
    outer = _watch.get()

    def both() -> None:
        if outer is not None:
            outer()
        check()

    token = _watch.set(both)
    try:
        yield
    finally:
        _watch.reset(token)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimit` at the first checkpoint after so many seconds; 0 for no limit."""
    if not seconds:
        yield
        return
    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > end:
            raise TimeLimit(f"took longer than the time limit of {seconds:g} s")

    with watched(check):
        yield
