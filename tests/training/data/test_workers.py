"""Workers of data loaders: signals to the job do not end them, the end of the run does."""

import multiprocessing
import os

from tests.helpers.processes import PATIENCE, run_process
from training.data.workers import begin_worker


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
