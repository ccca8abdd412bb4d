"""Workers of data loaders: signals to the job do not end them, the end of the run does."""

import multiprocessing
import os
import threading
from multiprocessing.queues import Queue

import pytest

from tests.helpers.processes import PATIENCE, run_process
from training.data import workers
from training.data.workers import begin_worker, load


def _answer(pipe, reader):
    begin_worker(reader, 0)
    pipe.send(os.getpid())
    while True:
        pipe.send(pipe.recv())


def test_a_worker_ends_by_its_training_process_alone():
    spawn = multiprocessing.get_context("spawn")
    (ours, its), (reader, writer) = spawn.Pipe(), spawn.Pipe(duplex=False)
    worker = spawn.Process(target=_answer, args=(its, reader), daemon=True)
    worker.start()
    its.close()
    pid = ours.recv()
    for name in ("INT", "TERM"):
        assert run_process(["kill", f"-{name}", pid]).returncode == 0
        ours.send(name)
        assert ours.recv() == name
    writer.close()
    worker.join(PATIENCE)
    assert worker.exitcode == 0


@pytest.mark.parametrize("taken", [1, 4])
def test_a_loader_that_has_ended_leaves_no_thread_of_a_queue(monkeypatch, taken):
    feed, join, awaited = Queue._feed, threading.Thread.join, threading.Event()

    def held(*args):
        feed(*args)
        awaited.wait(PATIENCE)

    def released(thread, timeout=None):
        if thread in feeders:
            awaited.set()
        join(thread, timeout)

    monkeypatch.setattr(Queue, "_feed", staticmethod(held))
    monkeypatch.setattr(threading.Thread, "join", released)
    items = load([0, 1, 2, 3], workers=2, batch_size=None)
    assert [next(items) for _ in range(taken)] == list(range(taken))
    feeders = workers._feeders()
    assert len(feeders) == 2
    items.close()
    alive = workers._feeders()
    awaited.set()
    assert not alive


def test_an_error_in_a_worker_comes_through_at_once():
    items = load([0, 1], workers=1, batch_size=None, sampler=[0, 7])
    assert next(items) == 0
    with pytest.raises(IndexError):
        next(items)
