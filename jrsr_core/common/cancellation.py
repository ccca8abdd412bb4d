"""Stopping long computations from outside: a time limit, or a peer that has disconnected.

Iterative solvers and loops over positions call `checkpoint` once per step. So does `wait_until`,
while it waits for another thread. `watched` sets the check that runs there. A running kernel is not
interrupted.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Condition

Check = Callable[[], None]

SECONDS_BETWEEN_CHECKS = 0.05

_watch: ContextVar[Check | None] = ContextVar("watch", default=None)


class TimeLimit(RuntimeError):
    """A computation took longer than it may."""


class Cancelled(Exception):
    """The result is no longer needed."""


def current_check() -> Check:
    """Return the check of this thread, so that another thread can run it."""
    return _watch.get() or (lambda: None)


def checkpoint() -> None:
    """Run the check of this thread, if it has one, which may raise."""
    current_check()()


def wait_until(condition: Condition, is_met: Callable[[], bool]) -> None:
    """Wait, holding the lock of a condition, until `is_met`; `checkpoint` runs in between.

    Raises
    ------
    Exception
        What the check of this thread raises.
    """
    while not is_met():
        condition.wait(SECONDS_BETWEEN_CHECKS)
        checkpoint()


@contextmanager
def watched(check: Check) -> Iterator[None]:
    """Let `checkpoint` run `check` within the context, instead of any check outside it."""
    token = _watch.set(check)
    try:
        yield
    finally:
        _watch.reset(token)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimit` at the first checkpoint after `seconds`; 0 for no limit."""
    outer, end = current_check(), time.monotonic() + seconds

    def check() -> None:
        outer()
        if seconds and time.monotonic() > end:
            raise TimeLimit(f"took longer than the time limit of {seconds:g} s")

    with watched(check):
        yield
