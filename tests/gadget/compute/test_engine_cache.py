"""Models are loaded a few at a time, each once, and nobody waits for a model of others."""

import threading

import pytest

from gadget.compute import engine
from gadget.compute.engine import EngineCache
from gadget.compute.local import LocalEngine
from gadget.settings import Settings
from jrsr_core.common.cancellation import Cancelled, watched
from tests.gadget.compute.test_engine import Devices
from tests.helpers.peer import PATIENCE, wait_until


def settings(n):
    return Settings(n_virtual_coils=n)


class Loading:
    """Makes engines that are numbers; each waits until it is let go."""

    def __init__(self):
        self.begun = []
        self.allowed = {n: threading.Event() for n in range(2, 12)}

    def __call__(self, wanted):
        n = wanted.n_virtual_coils
        self.begun.append(n)
        assert self.allowed[n].wait(PATIENCE)
        if n == 11:
            raise ValueError("weights are missing")
        return n


class Getter:
    """A thread that wants an engine."""

    def __init__(self, cache, n, check=lambda: None):
        self.result = None
        self._arguments = cache, n, check
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        cache, n, check = self._arguments
        try:
            with watched(check):
                self.result = cache.get(settings(n))
        except Exception as error:
            self.result = error

    def wait(self):
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.result


def test_scans_with_another_model_go_on():
    make = Loading()
    cache = EngineCache(make)
    slow = Getter(cache, 2)
    wait_until(lambda: make.begun == [2])
    make.allowed[3].set()
    assert Getter(cache, 3).wait() == 3 and Getter(cache, 3).wait() == 3
    assert slow.thread.is_alive() and make.begun == [2, 3]
    make.allowed[2].set()
    assert slow.wait() == 2


def test_one_load_serves_all_who_want_the_model():
    make = Loading()
    cache = EngineCache(make)
    getters = [Getter(cache, 2) for _ in range(5)]
    make.allowed[2].set()
    assert [g.wait() for g in getters] == [2] * 5 and make.begun == [2]


def test_only_a_few_are_loaded_at_a_time_and_waiting_can_be_cancelled():
    make = Loading()
    cache = EngineCache(make)
    getters = [Getter(cache, n) for n in range(2, 2 + engine.MAX_LOADING)]
    wait_until(lambda: len(make.begun) == engine.MAX_LOADING)
    is_gone = threading.Event()

    def check():
        if is_gone.is_set():
            raise Cancelled("gone")

    late = Getter(cache, 9, check)
    is_gone.set()
    assert isinstance(late.wait(), Cancelled) and 9 not in make.begun
    for event in make.allowed.values():
        event.set()
    assert [g.wait() for g in getters] == list(range(2, 2 + engine.MAX_LOADING))
    assert Getter(cache, 9).wait() == 9


def test_a_failure_is_that_of_each_who_asked():
    make = Loading()
    make.allowed[11].set()
    cache = EngineCache(make)
    for _ in range(2):
        assert str(Getter(cache, 11).wait()) == "weights are missing"
    assert len(cache) == 0 and make.begun == [11, 11]


def test_loading_on_many_devices_ends_when_nobody_waits():
    devices = Devices()

    def check():
        if len(devices.loaded) == 3:
            raise Cancelled("gone")

    with watched(check), pytest.raises(Cancelled):
        LocalEngine(devices, ["cpu"] * 3000)
    assert len(devices.loaded) == 3
