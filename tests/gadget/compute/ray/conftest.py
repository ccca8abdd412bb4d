"""One small cluster for all tests that do not need one of their own."""

import os

import pytest

from tests.helpers.processes import PATIENCE

# Ray gives its workers the lowest priority but four, and ends those that start slowly: on a busy
# machine the tests would last for ever. It reads these when a cluster starts.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture(scope="session")
def ended():
    """Ends whatever cluster there is after the last test."""
    ray = pytest.importorskip("ray")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def cluster(ended):
    """Two cores, and a GPU that Ray believes in; started again where a test has ended it."""
    ray = pytest.importorskip("ray")
    if not ray.is_initialized():
        ray.init(
            "local",
            num_cpus=2,
            num_gpus=1,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=40,
        )


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Workers may start as slowly as a busy machine lets them; images wait for them."""
    from gadget.compute.ray import workers

    monkeypatch.setattr(workers, "TIMEOUT", PATIENCE)
