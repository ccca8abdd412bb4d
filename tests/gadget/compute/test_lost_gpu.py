"""A GPU that fails in the middle of its work: every image, a warning, and a line in the health.

The GPU is simulated on the CPU: its model raises what CUDA raises. The probe for whether it still
responds is real and finds no GPU.
"""

import threading
from dataclasses import dataclass

import pytest
import torch

from gadget.compute import device as device_module
from gadget.compute.local import LocalEngine
from gadget.compute.model import make_reconstructor
from gadget.settings import Settings
from jrsr_core.reconstruction.slices import SliceReconstructor
from tests.helpers import layouts
from tests.helpers.commands import FAST, jrsr
from tests.helpers.peer import Peer, resident
from tests.helpers.served_scans import assert_images, serve

ASSERT = "CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later"
ERRORS = {
    "assert": torch.AcceleratorError(ASSERT),
    "launch": RuntimeError("CUDA error: unspecified launch failure"),
    "bus": torch.AcceleratorError("CUDA error: device lost, GPU has fallen off the bus"),
    "cufft": RuntimeError("cuFFT error: CUFFT_EXEC_FAILED"),
}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("lost"), slices=4, noise_scan=False)


@dataclass
class FakeGpu:
    """A reconstructor, and its `slices`, that says it is on a GPU.

    It fails from call `after` on, of its model or its calibration.
    """

    recon: SliceReconstructor
    error: Exception
    after: int
    where: str
    n_calls: int = 0

    def __post_init__(self):
        self.device = torch.device("cuda:0")
        self.slices = self

    def __getattr__(self, name):
        return getattr(self.recon, name)

    def _called(self, where):
        self.n_calls += where == self.where
        if self.n_calls > self.after:
            raise self.error

    def calibrated(self, slice_):
        self._called("calibrated")
        return self.recon.calibrated(slice_)

    def batch(self, slices, calibrated):
        self._called("batch")
        return [self.recon.batch([s], [c])[0] for s, c in zip(slices, calibrated, strict=True)]


def engine_maker(error: str, *, after=0, where: str = "batch", devices=("cuda:0",), size=1):
    """Make engines whose devices fail, `after` so many calls; what was loaded is in `made`.

    The simulated GPUs are in `gpus`; of several ones `after` has a number for each.
    """
    made: list[str] = []
    gpus: dict[str, FakeGpu] = {}
    after = after if isinstance(after, dict) else dict.fromkeys(devices, after)

    def make(settings: Settings, **options) -> LocalEngine:
        def load(name: str):
            made.append(name)
            recon = make_reconstructor(settings, "cpu", **options)
            if name == "cpu":
                return recon
            gpus[name] = FakeGpu(recon.slices, ERRORS[error], after[name], where)
            return gpus[name]

        return LocalEngine(load, list(devices), batch_size=size)

    make.made, make.gpus = made, gpus
    return make


def ask(server, scan, **properties):
    peer = Peer.to(server.port)
    peer.send(layouts.config(layouts.properties(**properties)), layouts.header(scan.header.xml))
    return peer.send(*scan.lines_alone).finish()


@pytest.mark.parametrize("where", ["batch", "calibrated"])
@pytest.mark.parametrize("error", ERRORS)
def test_a_server_goes_on_without_its_gpu(scan, error, where):
    make = engine_maker(error, after=2, where=where)
    with resident(make=make) as server:
        for _ in range(2):
            answer = ask(server, scan)
            assert answer.is_closed and not answer.errors and not answer.fallbacks
            assert_images(answer.images, scan.expected())
        assert make.made == ["cuda:0", "cpu"]
        line = server.health_line()
    reason = str(ERRORS[error]).splitlines()[0]
    assert line.endswith(f", cuda:0 is lost ({reason})") and "\n" not in line
    assert "computed on the CPU: cuda:0 is lost" in answer.images[-1].meta


@pytest.mark.parametrize(("where", "after"), [("batch", 0), ("calibrated", 2)])
def test_batches_that_were_on_the_gpu_are_computed_again(scan, where, after):
    make = engine_maker("assert", after=after, where=where, size=4)
    with resident(make=make) as server:
        answer = ask(server, scan, trigger="measurement")
        assert not answer.errors and not answer.fallbacks
        assert_images(answer.images, scan.expected())


def test_a_fallback_image_needs_no_gpu(scan, monkeypatch):
    """The slice fails, and then the device."""
    on_any_device = device_module.fallback_image

    def only_on_cpu(recon, *arguments, **options):
        if recon.device.type == "cuda":
            raise ERRORS["launch"]
        return on_any_device(recon, *arguments, **options)

    monkeypatch.setattr(device_module, "fallback_image", only_on_cpu)
    make = engine_maker("launch", where="nowhere")
    with resident(make=make) as server:
        answer = ask(server, scan, time_limit=0.000001)
        assert not answer.errors and len(answer.fallbacks) == len(answer.images) == 4


def test_a_volume_goes_on_without_its_gpu(tmp_path, monkeypatch):
    options = {"protocol": "wall-16x", "matrix": "32x32", "positions": 6, "acs": 8, "mask": "full"}
    volume = serve(tmp_path, slices=1, **options)
    whole = device_module.reconstruct_volume

    def failing(recon, *args, **kwargs):
        if isinstance(recon, FakeGpu):
            raise recon.error
        return whole(recon, *args, **kwargs)

    monkeypatch.setattr(device_module, "reconstruct_volume", failing)
    with resident(make=engine_maker("assert")) as server:
        for _ in range(2):
            answer = ask(server, volume)
            assert not answer.errors and not answer.fallbacks
            assert_images(answer.images, volume.expected())
        assert "cuda:0 is lost" in server.health_line()


def test_the_other_gpu_does_it_all(scan):
    """A lost device takes no more slices where another one is there."""
    after = {"cuda:0": 0, "cuda:1": 10**9}
    make = engine_maker("assert", devices=tuple(after), after=after)
    with resident(make=make) as server:
        for _ in range(2):
            assert_images(ask(server, scan).images, scan.expected())
        assert server.health_line().count("is lost") == 1
        assert "cuda:0 is lost" in server.health_line()
    # The slice that failed was computed on the CPU.
    assert make.gpus["cuda:0"].n_calls == 1
    assert make.gpus["cuda:1"].n_calls == 2 * 4 - 1


def test_an_error_that_the_device_survives_costs_one_slice_its_gpu(scan, monkeypatch):
    monkeypatch.setattr(device_module, "responds", lambda device: True)
    make = engine_maker("launch")
    with resident(make=make) as server:
        assert_images(ask(server, scan).images, scan.expected())
        assert "lost" not in server.health_line()


def test_a_gpu_that_is_lost_before_the_model_is_loaded(scan):
    def make(settings):
        def load(name):
            if name != "cpu":
                raise ERRORS["bus"]
            return make_reconstructor(settings, "cpu")

        return LocalEngine(load, ["auto"])

    with resident(make=make) as server:
        assert_images(ask(server, scan).images, scan.expected())
        assert "auto is lost (CUDA error: device lost" in server.health_line()


def test_recon_says_it_once(scan, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("gadget.offline.recon.make_engine", engine_maker("assert", after=1))
    outcome = jrsr(capfd, "recon", scan.path, "-o", tmp_path / "o.h5", *FAST)
    assert outcome.code == 0, outcome
    told = [line for line in outcome.err.splitlines() if "cuda:0 is lost" in line]
    assert len(told) == 1 and "3 of 4 images: computed on the CPU" in told[0]


def test_two_threads_lose_one_gpu(scan):
    make = engine_maker("launch", after=3)
    with resident(make=make) as server:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(ask(server, scan))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for answer in answers:
            assert_images(answer.images, scan.expected())
    assert make.made == ["cuda:0", "cpu"] and len(answers) == 3
