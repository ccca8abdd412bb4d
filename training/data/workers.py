"""Worker processes of a data loader: they end with their run, and by no signal."""

import atexit
import os
import signal
import threading
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context, resource_tracker
from traceback import clear_frames
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset

from jrsr_core.common.cancellation import SECONDS_BETWEEN_CHECKS, checkpoint

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

IGNORED = (signal.SIGINT, signal.SIGTERM)
"""Signals that are for the main process alone."""

TIMED_OUT = "DataLoader timed out"
"""Beginning of the error of `torch` where no item comes in time; the loader stays usable."""


def load(data: Dataset, workers: int, **options: Any) -> Generator[Any]:
    """Yield what a `DataLoader` with these options does; its workers end with the generator.

    A wait for workers runs `cancellation.checkpoint`, which may end it; items in hand are lost.

    A scheduler sends SIGTERM to all processes of a job, a terminal SIGINT. They are for the
    training process alone, which ends after its step and saves, so workers ignore them. By SIGTERM
    `torch` and Python also end workers that take long; the end of a pipe does that instead.
    """
    if workers < 1:
        yield from DataLoader(data, **options)
        return
    # spawn: a forked process would inherit the threads of the parent's libraries.
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    # Registered later than the exit function of `multiprocessing`, which waits for workers, it is
    # called before.
    atexit.register(writer.close)
    loader = DataLoader(
        data,
        num_workers=workers,
        multiprocessing_context=context,
        worker_init_fn=partial(begin_worker, reader),
        timeout=SECONDS_BETWEEN_CHECKS,
        **options,
    )
    # The iterator waits for its workers when it goes: kept by a name, that is after the pipe ends.
    items: Iterator[Any] = iter(())
    others, feeders = _feeders(), set[threading.Thread]()
    kept: weakref.ref[Any] | None = None
    try:
        with _signals_blocked():
            items = iter(loader)
            feeders, kept = _feeders() - others, weakref.ref(items)
        while (taken := _take(items)) is not None:
            yield from taken
            checkpoint()
    except BaseException as error:
        # The traceback would keep the iterator, and so its queues open.
        clear_frames(error.__traceback__)
        if isinstance(error, ValueError | OSError):
            raise _plain(error) from None
        raise
    finally:
        writer.close()
        reader.close()
        atexit.unregister(writer.close)
        del items
        # `torch` leaves the threads of its queues to themselves. A process that ends while one
        # removes a semaphore may stop it before it records that, and warns of a leak.
        if kept is None or kept() is None:
            for thread in feeders:
                thread.join()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Let no signal interrupt the start of workers, nor reach them before they ignore it."""
    # Its start, at the first need, would unblock them.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _take(items: Iterator[Any]) -> list[Any] | None:
    """Return the next item in a list, an empty one where none came in time; None after the last."""
    try:
        return [next(items)]
    except StopIteration:
        return None
    except RuntimeError as error:
        if not str(error).startswith(TIMED_OUT):
            raise
        return []


def _plain(error: Exception) -> Exception:
    """Return the error of a worker with its own message; `torch` gives it one with a traceback.

    An error of the program keeps the traceback.
    """
    text = str(error)
    if "Original Traceback" not in text:
        return error
    own = text.rstrip().rpartition("\n")[2].partition(": ")[2]
    return type(error)(own) if own else error


def _feeders() -> set[threading.Thread]:
    """Return the threads by which the queues of this process send."""
    return {each for each in threading.enumerate() if each.name == "QueueFeederThread"}


def begin_worker(reader: "Connection", _: int) -> None:
    """Let this process have one thread, ignore signals, and end with the pipe of `reader`."""
    torch.set_num_threads(1)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(reader,), daemon=True).start()


def _end_with(reader: "Connection") -> None:
    with suppress(EOFError, OSError):
        reader.recv()
    os._exit(0)
