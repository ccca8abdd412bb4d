"""A signal ends all scans that a cluster computes at the time, as it ends one without a cluster."""

import signal
import threading
import time
from contextlib import nullcontext, suppress
from types import SimpleNamespace

import pytest

from gadget.compute.model import make_engine
from jrsr_core.common.cancellation import wait_until
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.processes import PATIENCE

N_AT_ONCE = 2


class Cluster:
    """Stands for the module of the cluster; signals the main thread once all its scans wait.

    Parameters
    ----------
    is_computed
        Whether the images are there when the signal comes, so that only writing them is left.
    """

    def __init__(self, number: int, *, is_computed: bool) -> None:
        self.n_begun = 0
        self._number, self._is_computed = number, is_computed
        self._changed, self._end = threading.Condition(), time.monotonic() + PATIENCE

    def Pool(self, address, **options):
        return nullcontext(SimpleNamespace(n_wanted=N_AT_ONCE))

    def ClusterEngine(self, settings, pool, *, with_maps):
        engine = make_engine(settings, with_maps=with_maps)
        compute = engine.run

        def run(slices, time_limit=0.0):
            images = compute(slices, time_limit) if self._is_computed else []
            with suppress(KeyboardInterrupt) if self._is_computed else nullcontext():
                self._wait()
            return images

        engine.run = run
        return engine

    def _wait(self):
        with self._changed:
            self.n_begun += 1
            if self.n_begun == N_AT_ONCE:
                signal.pthread_kill(threading.main_thread().ident, self._number)
            wait_until(self._changed, lambda: time.monotonic() > self._end)
        raise AssertionError("the signal did not end the wait")


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request):
    """A signal that raises `KeyboardInterrupt`, as in the process of the command."""
    before = signal.signal(request.param, signal.default_int_handler)
    yield request.param
    signal.signal(request.param, before)


@pytest.mark.parametrize("is_computed", [False, True])
def test_the_first_signal_ends_all_scans_of_a_cluster(
    is_computed, number, tmp_path, capfd, monkeypatch
):
    scans = [tmp_path / f"s{i}.h5" for i in range(N_AT_ONCE + 2)]
    for scan in scans:
        write_small_scan(scan)
    cluster = Cluster(number, is_computed=is_computed)
    monkeypatch.setattr("gadget.offline.recon.import_cluster", lambda address: cluster)
    outcome = jrsr(capfd, "recon", *scans, *FAST, "--cluster", "local")
    assert_one_line(outcome, 130, "jrsr: interrupted")
    assert cluster.n_begun == N_AT_ONCE
    assert sorted(tmp_path.iterdir()) == scans
