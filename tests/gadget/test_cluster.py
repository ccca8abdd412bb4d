"""The engine on a Ray cluster: same images, in order, also when workers die. Skipped without Ray.

`python -m tests.benchmarks.cluster` does it on three nodes, one of which is killed.
"""

import threading

import h5py
import pytest

from .commands import FAST, assert_one_line, jrsr, write_small_scan

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")

from gadget import cluster  # noqa: E402
from gadget.replay import Request, replay  # noqa: E402
from gadget.settings import Settings  # noqa: E402

from .peer import CHEAP  # noqa: E402


def pixels(path):
    with h5py.File(path) as file:
        return file["dataset/image_1/data"][()].tobytes()


@pytest.fixture
def two_workers(monkeypatch):
    start = ray.init
    monkeypatch.setattr(ray, "init", lambda *a, **k: start(*a, num_cpus=2, **k))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    ray.shutdown()


def test_images_are_those_of_one_worker_and_deaths_cost_none(
    two_workers, tmp_path, capfd, monkeypatch
):
    folder = tmp_path / "scans"
    folder.mkdir()
    names = [f"s{i}" for i in range(3)]
    for i, name in enumerate(names):
        write_small_scan(folder / f"{name}.h5", n_slices=2 + i)
    assert jrsr(capfd, "recon", folder, "-o", tmp_path / "one", *FAST).code == 0
    take, n_taken, lock = cluster.ClusterEngine._take, [0], threading.Lock()

    def deadly(self, *, wait):
        worker = take(self, wait=wait)
        with lock:
            n_taken[0] += worker is not None
            if worker is not None and n_taken[0] == 3:
                ray.kill(worker)
        return worker

    monkeypatch.setattr(cluster.ClusterEngine, "_take", deadly)
    arguments = ("recon", folder, "-o", tmp_path / "many", *FAST, "--cluster", "local")
    outcome = jrsr(capfd, *arguments)
    assert outcome.code == 0, outcome
    assert n_taken[0] > 9
    for name in names:
        one, many = (tmp_path / where / f"{name}_jrsr.h5" for where in ("one", "many"))
        assert pixels(one) == pixels(many)


def test_no_cluster_there(tmp_path):
    write_small_scan(tmp_path / "s.h5")
    request = Request([tmp_path / "s.h5"], tmp_path / "o.h5", ["mrd"], cluster="nonsense:1:2:3")
    with pytest.raises(ValueError, match=r"no cluster at nonsense:1:2:3"):
        replay(request, Settings(**CHEAP))


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
