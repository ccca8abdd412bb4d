"""Waiting for another thread: ends when the condition holds, or with what the watch raises."""

import threading

import pytest

from jrsr_core.common.cancellation import Cancelled, wait_until, watched
from tests.helpers.processes import PATIENCE


def test_waiting_ends_when_the_condition_holds():
    changed, done = threading.Condition(), []

    def wait():
        with changed:
            wait_until(changed, lambda: bool(done))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    with changed:
        done.append(True)
        changed.notify_all()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_the_watch_ends_a_wait_and_the_lock_is_free_again():
    changed = threading.Condition()

    def give_up():
        raise Cancelled("the peer is gone")

    with watched(give_up), pytest.raises(Cancelled, match="the peer is gone"), changed:
        wait_until(changed, lambda: False)
    assert changed.acquire(blocking=False)


def test_nothing_is_checked_where_nothing_is_waited_for():
    def never():
        raise AssertionError

    changed = threading.Condition()
    with watched(never), changed:
        wait_until(changed, lambda: True)
