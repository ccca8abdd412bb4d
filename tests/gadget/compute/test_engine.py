"""Slices of many callers on few devices: each gets its own images, in order, whatever happens."""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gadget.compute.local import LocalEngine
from jrsr_core.common.cancellation import Cancelled, TimeLimit, checkpoint, watched
from jrsr_core.data import Counters, KSpaceSlice, ReconImage, ReconReport, SliceGeometry
from tests.helpers.peer import PATIENCE, wait_until

GEOMETRY = SliceGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5, 200, 200))


def slice_number(n: int, width: int = 8) -> KSpaceSlice:
    kspace = torch.full((1, 8, width), n, dtype=torch.complex64)
    return KSpaceSlice(kspace, torch.ones(8, width), kspace, GEOMETRY, Counters(slice=n))


TURN = 0.005
"""Seconds between two checks of a fake that computes."""


class Fake:
    """Stands for the `Reconstructor` of a device, and its `slices`: an image has the slice's value.

    `room` is the largest batch that fits, `spoilt` maps slices to errors, `hold` is waited for.
    """

    loaded: list["Fake"]

    def __init__(self, device: str, room: int = 99, spoilt: dict | None = None) -> None:
        self.device = SimpleNamespace(type=device.partition(":")[0])
        self.name = device
        self.room = room
        self.spoilt = spoilt or {}
        self.hold = threading.Event()
        self.hold.set()
        self.batches: list[list[int]] = []
        self.users = self.n_checks = 0
        self.slices = self

    def calibrated(self, slice_: KSpaceSlice) -> int:
        return slice_.counters.slice

    def batch(self, slices: list[KSpaceSlice], calibrated: list[int]) -> list[ReconImage]:
        self.users += 1
        try:
            assert self.users == 1, "two threads on one device"
            while not self.hold.wait(TURN):
                checkpoint()
                self.n_checks += 1
            checkpoint()
            if len(slices) > self.room:
                is_gpu = self.device.type == "cuda"
                raise torch.cuda.OutOfMemoryError if is_gpu else MemoryError
            for number in calibrated:
                if number in self.spoilt:
                    raise self.spoilt[number]
            self.batches.append(calibrated)
            return [self.image(s) for s in slices]
        finally:
            self.users -= 1

    def image(self, slice_: KSpaceSlice) -> ReconImage:
        report = ReconReport(model=self.name)
        value = slice_.kspace.real[0]
        return ReconImage(value, value, GEOMETRY, slice_.counters, slice_.stamp, report)

    def __call__(self, slice_: KSpaceSlice) -> ReconImage:
        return self.batch([slice_], [self.calibrated(slice_)])[0]


class Devices:
    """The fakes of an engine, by name in the order they were loaded."""

    def __init__(self, **options) -> None:
        self.options = options
        self.loaded: list[Fake] = []

    def __call__(self, name: str) -> Fake:
        self.loaded.append(Fake(name, **(self.options if name != "cpu" else {})))
        return self.loaded[-1]


def numbers(outcomes: list) -> list[int]:
    return [o if isinstance(o, Exception) else int(o.image[0, 0].real) for o in outcomes]


def run(engine: LocalEngine, *wanted: int) -> list:
    return engine.run([slice_number(n) for n in wanted])


def test_order_and_batches():
    devices = Devices()
    engine = LocalEngine(devices, ["cuda"], batch_size=4)
    assert numbers(run(engine, *range(10, 20))) == list(range(10, 20))
    assert [len(b) for b in devices.loaded[0].batches] == [4, 4, 2]
    assert engine.slices_at_once == 4 and engine.n_waiting == 0
    assert engine.run([]) == []


def test_one_by_one_on_a_cpu():
    devices = Devices()
    engine = LocalEngine(devices, ["cpu"], batch_size=4)
    assert numbers(run(engine, 1, 2, 3)) == [1, 2, 3]
    assert devices.loaded[0].batches == [[1], [2], [3]] and engine.slices_at_once == 1


def test_only_slices_that_are_alike_go_together():
    devices = Devices()
    engine = LocalEngine(devices, ["cuda"], batch_size=8)
    other_mask = replace(slice_number(3), mask=torch.zeros(8, 8))
    slices = [slice_number(1), slice_number(2), other_mask, slice_number(4, 16), slice_number(5)]
    assert numbers(engine.run(slices)) == [1, 2, 3, 4, 5]
    assert devices.loaded[0].batches == [[1, 2], [3], [4], [5]]


@pytest.mark.parametrize("room", [1, 2, 3])
def test_a_batch_without_room_is_halved(room):
    devices = Devices(room=room)
    engine = LocalEngine(devices, ["cuda"], batch_size=8)
    assert numbers(run(engine, *range(1, 9))) == list(range(1, 9))
    assert max(map(len, devices.loaded[0].batches)) <= room
    assert len(devices.loaded) == 1


def test_a_slice_without_room_goes_to_the_cpu():
    devices = Devices(room=0)
    engine = LocalEngine(devices, ["cuda"], batch_size=4)
    outcomes = run(engine, 1, 2, 3)
    assert numbers(outcomes) == [1, 2, 3]
    assert {o.report.model for o in outcomes} == {"cpu"}
    # Loaded once, when it was needed.
    assert [d.name for d in devices.loaded] == ["cuda", "cpu"]


def test_no_room_anywhere():
    engine = LocalEngine(Devices(), ["cpu"])
    engine.model.room = 0
    (outcome,) = run(engine, 1)
    assert isinstance(outcome, MemoryError)


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), TypeError("x"), KeyError(1)])
def test_a_slice_that_fails_fails_alone(error):
    engine = LocalEngine(Devices(spoilt={3: error}), ["cuda"], batch_size=8)
    assert numbers(run(engine, 1, 2, 3, 4, 5)) == [1, 2, error, 4, 5]
    assert numbers(run(engine, 6)) == [6]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_time_limit_ends_a_slice(device):
    engine = LocalEngine(Devices(), [device], batch_size=2)
    engine.model.hold.clear()
    (outcome,) = engine.run([slice_number(1)], time_limit=0.05)
    assert isinstance(outcome, TimeLimit) and "0.05 s" in str(outcome)
    engine.model.hold.set()
    assert numbers(run(engine, 2)) == [2]


class Caller:
    """A thread that wants images."""

    def __init__(self, engine: LocalEngine, wanted: list[int], check=lambda: None) -> None:
        self.result: list | Exception | None = None
        self._engine, self._wanted, self._check = engine, wanted, check
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with watched(self._check):
                self.result = numbers(run(self._engine, *self._wanted))
        except BaseException as error:
            self.result = error

    def wait(self) -> list | Exception | None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "stranded"
        return self.result


@pytest.mark.parametrize("names", [["cpu"], ["cuda"], ["cuda:0", "cuda:1"]])
def test_many_callers(names):
    devices = Devices()
    engine = LocalEngine(devices, names, batch_size=3)
    wanted = [[100 * i + j for j in range(17)] for i in range(8)]
    callers = [Caller(engine, numbers_) for numbers_ in wanted]
    assert [caller.wait() for caller in callers] == wanted
    done = sorted(n for d in devices.loaded for batch in d.batches for n in batch)
    assert done == sorted(n for w in wanted for n in w)
    assert [d.name for d in devices.loaded] == names
    assert engine.n_waiting == 0 and len(done) == 8 * 17


def test_a_batch_of_several_callers():
    devices = Devices()
    engine = LocalEngine(devices, ["cuda"], batch_size=4)
    fake = devices.loaded[0]
    fake.hold.clear()
    first = Caller(engine, [1])
    wait_until(lambda: fake.users)
    others = [Caller(engine, [n]) for n in (2, 3, 4)]
    wait_until(lambda: engine.n_waiting == 3)
    fake.hold.set()
    assert [c.wait() for c in (first, *others)] == [[1], [2], [3], [4]]
    assert sorted(map(len, fake.batches)) == [1, 3]


def gone() -> None:
    raise Cancelled("gone")


def test_a_caller_whose_peer_has_gone_leaves_the_others_alone():
    devices = Devices()
    engine = LocalEngine(devices, ["cuda"], batch_size=4)
    fake = devices.loaded[0]
    fake.hold.clear()
    is_gone = threading.Event()
    first = Caller(engine, [1, 2], lambda: gone() if is_gone.is_set() else None)
    wait_until(lambda: fake.users)
    second = Caller(engine, [3, 4])
    wait_until(lambda: engine.n_waiting == 2)
    is_gone.set()
    cancelled = first.wait()
    assert isinstance(cancelled, Cancelled) or all(isinstance(o, Cancelled) for o in cancelled)
    fake.hold.set()
    assert second.wait() == [3, 4]
    assert engine.n_waiting == 0 and Caller(engine, [5]).wait() == [5]


def test_a_batch_goes_on_for_the_caller_who_is_still_there():
    """The thread that computes may be one whose own peer has gone."""
    devices = Devices()
    engine = LocalEngine(devices, ["cuda"], batch_size=4)
    fake = devices.loaded[0]
    fake.hold.clear()
    first = Caller(engine, [1])
    wait_until(lambda: fake.users)
    is_gone = threading.Event()
    leaving = Caller(engine, [2], lambda: gone() if is_gone.is_set() else None)
    wait_until(lambda: engine.n_waiting == 1)
    staying = Caller(engine, [3])
    wait_until(lambda: engine.n_waiting == 2)
    is_gone.set()
    fake.hold.set()
    assert first.wait() == [1] and staying.wait() == [3]
    leaving.wait()
    assert engine.n_waiting == 0


@pytest.mark.parametrize("error", [TypeError("x"), RuntimeError("x"), KeyError(1)])
def test_the_error_of_one_caller_is_not_that_of_another(error):
    """Whichever of them computes the slice that fails."""
    devices = Devices(spoilt={7: error})
    engine = LocalEngine(devices, ["cuda"], batch_size=1)
    fake = devices.loaded[0]
    fake.hold.clear()
    first = Caller(engine, [1, 2])
    wait_until(lambda: fake.users)
    second = Caller(engine, [7])
    wait_until(lambda: engine.n_waiting == 2)
    fake.hold.set()
    assert first.wait() == [1, 2] and second.wait() == [error]


def test_an_interrupt_of_the_thread_that_computes_leaves_the_work_to_others():
    devices = Devices(spoilt={1: KeyboardInterrupt()})
    engine = LocalEngine(devices, ["cuda"], batch_size=2)
    fake = devices.loaded[0]
    fake.hold.clear()
    first = Caller(engine, [1])
    wait_until(lambda: fake.users)
    second = Caller(engine, [2, 3])
    wait_until(lambda: engine.n_waiting == 2)
    fake.hold.set()
    assert isinstance(first.wait(), KeyboardInterrupt)
    assert second.wait() == [2, 3] and engine.n_waiting == 0


def test_waiting_costs_no_core():
    devices = Devices()
    engine = LocalEngine(devices, ["cpu"])
    fake = devices.loaded[0]
    fake.hold.clear()
    n_checks = [0] * 8

    def counted(n):
        def check():
            n_checks[n] += 1

        return check

    callers = [Caller(engine, [n], counted(n)) for n in range(8)]
    wait_until(lambda: fake.users and engine.n_waiting == 7)
    start, before = time.monotonic(), list(n_checks)
    wait_until(lambda: sum(n >= b + 5 for n, b in zip(n_checks, before, strict=True)) >= 7)
    after, seconds = list(n_checks), time.monotonic() - start
    fake.hold.set()
    # All but the one that computes, which is checked by the device.
    turns = sorted(a - b for a, b in zip(after, before, strict=True))[:7]
    assert max(turns) <= seconds / 0.04 + 2, "waiting without a pause"
    assert [c.wait() for c in callers] == [[n] for n in range(8)]
