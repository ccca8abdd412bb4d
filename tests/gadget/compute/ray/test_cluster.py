"""Files on a Ray cluster, and the pool of workers behind files and server. Skipped without Ray.

`python -m tests.benchmarks.cluster` does it on three nodes, one of which is killed.
"""

import os
import re
import signal
import threading
from types import SimpleNamespace

import h5py
import pytest

from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("cluster")]

from gadget.compute.ray import actor, pool, workers  # noqa: E402
from gadget.compute.ray.actor import Answer, ClusterWorker, ModelRef  # noqa: E402
from gadget.compute.ray.connect import Share, share_of  # noqa: E402
from gadget.compute.ray.engine import ClusterEngine  # noqa: E402
from gadget.compute.ray.pool import Pool  # noqa: E402
from gadget.compute.ray.workers import WorkerHandle, reason_of  # noqa: E402
from gadget.errors import UsageError  # noqa: E402
from gadget.settings import Settings  # noqa: E402
from jrsr_core.common.cancellation import checkpoint  # noqa: E402
from tests.gadget.compute.test_engine import Fake, slice_number  # noqa: E402
from tests.helpers.peer import CHEAP, wait_until  # noqa: E402

ON_CPU = (*FAST, "--device", "cpu", "--cluster", "local")


def pixels(path):
    with h5py.File(path) as file:
        return file["dataset/image_1/data"][()].tobytes()


def kill(handle, number=signal.SIGKILL):
    """End the process of a worker, as the system does."""
    os.kill(int(re.search(r"process (\d+)", handle.where)[1]), number)


def deadly(monkeypatch, is_fatal):
    """Let workers die of what they are sent; `is_fatal` gets the number of the call and an item."""
    send, n_sent = WorkerHandle.send, [0]

    def sending(self, item, model):
        answer = send(self, item, model)
        n_sent[0] += 1
        if is_fatal(n_sent[0], item):
            kill(self)
        return answer

    monkeypatch.setattr(WorkerHandle, "send", sending)
    return n_sent


def test_images_are_those_of_one_worker_and_deaths_cost_none(tmp_path, capfd, monkeypatch):
    folder = tmp_path / "scans"
    folder.mkdir()
    names = [f"s{i}" for i in range(3)]
    for i, name in enumerate(names):
        write_small_scan(folder / f"{name}.h5", n_slices=2 + i)
    assert jrsr(capfd, "recon", folder, "-o", tmp_path / "one", *FAST).code == 0
    n_sent = deadly(monkeypatch, lambda n, job: n in (3, 5))
    outcome = jrsr(capfd, "recon", folder, "-o", tmp_path / "many", *ON_CPU)
    assert outcome.code == 0, outcome
    assert n_sent[0] >= 9 + 2
    for name in names:
        one, many = (tmp_path / where / f"{name}_jrsr.h5" for where in ("one", "many"))
        assert pixels(one) == pixels(many)


def test_workers_share_a_gpu(tmp_path, capfd, monkeypatch):
    class OnCpu(ClusterWorker):
        """Has its share of a GPU, and computes on the CPU once the other worker has started."""

        def __init__(self, device, share):
            super().__init__("cpu")
            assert device == "cuda" and share == 0.5
            resources = ray.get_runtime_context().get_assigned_resources()
            assert len(ray.get_gpu_ids()) == 1 and resources["GPU"] == pytest.approx(0.5)
            (tmp_path / f"worker{os.getpid()}").touch()
            wait_until(lambda: len(list(tmp_path.glob("worker*"))) == 2)

    write_small_scan(tmp_path / "s.h5", n_slices=4)
    assert jrsr(capfd, "recon", tmp_path / "s.h5", "-o", tmp_path / "one.h5", *FAST).code == 0
    monkeypatch.setattr(workers, "ClusterWorker", OnCpu)
    arguments = (*FAST, "--cluster", "local", "--gpus-per-worker", 0.5)
    outcome = jrsr(capfd, "recon", tmp_path / "s.h5", "-o", tmp_path / "two.h5", *arguments)
    assert outcome.code == 0, outcome
    assert len(list(tmp_path.glob("worker*"))) == 2
    assert pixels(tmp_path / "one.h5") == pixels(tmp_path / "two.h5")


@pytest.mark.parametrize(("share", "expected"), [(1, 3), (0.5, 6), (0.3, 9), (0.25, 12), (0.6, 3)])
def test_no_share_is_split_over_two_gpus(share, expected):
    assert Share("cuda", share).n_workers({"GPU": 3.0, "CPU": 99}) == expected


def test_what_a_worker_takes():
    resources = {"GPU": 2.0, "CPU": 4.0}
    assert share_of(resources, "here", "auto", 0.25) == Share("cuda", 0.25)
    assert share_of(resources, "here", "cuda", None).options == {"num_gpus": 1.0, "num_cpus": 0}
    assert share_of(resources, "here", "cpu", None).options == {"num_cpus": 1}
    assert share_of({"CPU": 4.0}, "here", "auto", None).n_workers({"CPU": 4.0}) == 4
    for gpus, device, share, words in [
        (2, "cpu", 0.5, "gpus-per-worker is 0.5, but device is 'cpu'"),
        (0, "auto", 0.5, "gpus-per-worker is 0.5, but the cluster at here has no GPU"),
        (0, "cuda", None, "device 'cuda' asked for, the cluster at here has no GPU"),
        (2, "cuda:1", None, "device is 'cuda:1', on a cluster expected auto, cpu or cuda"),
        (0, "auto", None, "the cluster at here has neither a core nor a GPU"),
    ]:
        with pytest.raises(UsageError) as caught:
            share_of({"GPU": gpus}, "here", device, share)
        assert str(caught.value) == words


def test_files_are_not_written_where_nobody_is_left(tmp_path, capfd, monkeypatch):
    write_small_scan(tmp_path / "s.h5", n_slices=3)
    monkeypatch.setattr(workers, "TIMEOUT", 0.5)
    monkeypatch.setattr(pool, "START_INTERVAL", 1000.0)
    deadly(monkeypatch, lambda n, job: True)
    outcome = jrsr(capfd, "recon", tmp_path / "s.h5", "-o", tmp_path / "o.h5", *ON_CPU)
    assert outcome.code == 1 and "no worker of the cluster for 0.5 s" in outcome.err, outcome
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]


@pytest.fixture
def heeded():
    """Ctrl-C, which a shell lets processes in the background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.SIGINT
    signal.signal(signal.SIGINT, before)


def test_a_signal_ends_a_scan_that_a_worker_computes(heeded, tmp_path, capfd, monkeypatch):
    class Endless(ClusterWorker):
        def slice(self, number, *arguments):
            (tmp_path / "busy").touch()
            with self._stoppable(number):
                wait_until(checkpoint)

    def interrupt():
        wait_until((tmp_path / "busy").exists)
        signal.pthread_kill(threading.main_thread().ident, heeded)

    scan = tmp_path / "s.h5"
    write_small_scan(scan, n_slices=3)
    monkeypatch.setattr(workers, "ClusterWorker", Endless)
    threading.Thread(target=interrupt, daemon=True).start()
    outcome = jrsr(capfd, "recon", scan, "-o", tmp_path / "o.h5", *ON_CPU)
    assert_one_line(outcome, 130, "jrsr: interrupted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["busy", "s.h5"]


def test_workers_that_cannot_start(tmp_path, capfd, monkeypatch):
    class Broken(ClusterWorker):
        def __init__(self, device, share):
            raise RuntimeError("no driver here")

    write_small_scan(tmp_path / "s.h5")
    monkeypatch.setattr(workers, "MAX_BAD_STARTS", 1)
    monkeypatch.setattr(workers, "ClusterWorker", Broken)
    outcome = jrsr(capfd, "recon", tmp_path / "s.h5", "-o", tmp_path / "o.h5", *ON_CPU)
    assert outcome.code == 1, outcome
    words = "no worker of the cluster could be started (RuntimeError: no driver here)"
    assert words in outcome.err and len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "It died.\n  x.py, line 3\n    raise E\n    ^^^^\nValueError: no driver",
            "ValueError: no driver",
        ),
        (
            "It died.\n\tclass_name: X\nThe actor is dead because its node is.\n",
            "The actor is dead because its node is.",
        ),
        ("It died.\n\tclass_name: X", "It died."),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_is_one_line(said, line):
    assert reason_of(RuntimeError(said)) == line


def test_a_worker_that_dies_at_its_start_is_started_again(tmp_path, capfd, monkeypatch):
    """As happens where the cluster itself has just been started."""
    mark = tmp_path / "died"

    class Unlucky(ClusterWorker):
        def __init__(self, device, share):
            if not mark.exists():
                mark.touch()
                os._exit(1)
            super().__init__(device, share)

    write_small_scan(tmp_path / "s.h5")
    monkeypatch.setattr(workers, "ClusterWorker", Unlucky)
    outcome = jrsr(capfd, "recon", tmp_path / "s.h5", "-o", tmp_path / "o.h5", *ON_CPU)
    assert outcome.code == 0 and mark.exists(), outcome


def test_a_worker_that_lost_its_gpu_is_replaced(monkeypatch):
    class WithoutGpu(ClusterWorker):
        def slice(self, *arguments):
            return Answer(super().slice(*arguments).outcome, "cuda is lost (CUDA error: x)")

    monkeypatch.setattr(workers, "ClusterWorker", WithoutGpu)
    with Pool("local", device="cpu") as pool_:
        engine = ClusterEngine(Settings(**CHEAP), pool_)
        (made,) = engine.run([slice_number(1)])
        # Too small for the model: what matters is that it was answered.
        assert "lost" not in str(made)
        wait_until(lambda: pool_.workers.n_lost == 1)
        assert engine.notes == [str(pool_)] and "1 lost so far" in str(pool_)
        wait_until(lambda: pool_.workers.n_ready == 2)


def test_a_worker_stops_when_nobody_waits(monkeypatch):
    fake = Fake("cpu")
    fake.hold.clear()
    sent = SimpleNamespace(copied_to=lambda device: fake)
    monkeypatch.setattr(actor, "ray", SimpleNamespace(get=lambda ref: sent))
    worker = ClusterWorker("cpu")
    model = ModelRef(7, ray.put("model"), "", 1)
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(worker.slice(1, model, slice_number(1), 0.0)), daemon=True
    )
    thread.start()
    wait_until(lambda: fake.users)
    worker.stop(99)
    before = fake.n_checks
    wait_until(lambda: fake.n_checks > before + 10 or answers)
    assert fake.users and not answers
    worker.stop(1)
    wait_until(lambda: answers)
    assert "nobody waits" in answers[0].outcome
    fake.hold.set()
    assert not isinstance(worker.slice(2, model, slice_number(1), 0.0).outcome, str)
    checkpoint()


def test_resume_does_only_what_is_left(tmp_path, capfd):
    for name in ("a", "b"):
        write_small_scan(tmp_path / f"{name}.h5")
    out = tmp_path / "out"
    assert jrsr(capfd, "recon", tmp_path / "a.h5", "-o", out / "", *FAST).code == 0
    (done,) = out.iterdir()
    before = done.stat().st_mtime_ns
    outcome = jrsr(capfd, "recon", tmp_path, "-o", out, *FAST, "--resume")
    assert outcome.code == 0 and outcome.out.startswith("1 scan finished before, 1 to do\n")
    assert sorted(p.name for p in out.iterdir()) == ["a_jrsr.h5", "b_jrsr.h5"]
    assert done.stat().st_mtime_ns == before
    again = jrsr(capfd, "recon", tmp_path, "-o", out, *FAST, "--resume")
    assert again.code == 0 and "2 scans finished before, 0 to do" in again.out
    refused = jrsr(capfd, "recon", tmp_path, "-o", out, *FAST)
    assert_one_line(refused, 2, "exists, --overwrite")
