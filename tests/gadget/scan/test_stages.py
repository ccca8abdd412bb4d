"""Healthy images are never lost with a sick one."""

from types import SimpleNamespace

import pytest
import torch

from gadget.compute.model import make_engine
from gadget.scan.stages import file_tasks, make_assembler, reconstruct
from gadget.settings import Settings
from jrsr_core.calibration import stated_noise
from jrsr_core.common.cancellation import Cancelled, watched
from jrsr_core.data import Counters
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.examination.examine import plan_source
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.reconstruction.load import load_model
from tests.gadget.compute.test_engine import slice_number
from tests.jrsr_core.calibration.test_stated_noise import noisy_scan, with_noise_lines


class Task:
    """Assembles the slice of a number, or raises."""

    def __init__(self, number, error=None):
        self.number, self.error = number, error
        self.counters = Counters(slice=number)

    def assemble(self):
        if self.error is not None:
            raise self.error
        return slice_number(self.number)


class Engine:
    """Images are numbers; some slices fail, and of some of these the fallback fails as well."""

    slices_at_once = 4

    def __init__(self, sick=(), hopeless=(), error=None):
        self.sick, self.hopeless = sick, hopeless
        self.error = error or ValueError("sick")
        self.batches = []

    def run(self, slices, time_limit=0.0):
        numbers = [s.counters.slice for s in slices]
        self.batches.append(numbers)
        return [self.error if n in self.sick else n for n in numbers]

    def fallback(self, data, reason, tick):
        number = data.counters.slice
        if number in self.hopeless:
            raise RuntimeError("no memory")
        return SimpleNamespace(fallback=number)


def images(*arguments, **options):
    """Images that came, and the error at the end."""
    came = []
    try:
        for image in reconstruct(*arguments, **options):
            came.append(image if isinstance(image, int) else ("fallback", image.fallback))
    except Exception as error:
        return came, str(error)
    return came, ""


def tasks(n, broken=()):
    return [Task(i, OSError("unreadable") if i in broken else None) for i in range(n)]


def test_a_slice_without_a_fallback_image_costs_no_other():
    engine = Engine(sick=(1, 2, 6), hopeless=(1,))
    came, error = images(tasks(8), engine, Settings())
    assert came == [0, ("fallback", 2), 3, 4, 5, ("fallback", 6), 7]
    assert error == "slice 1: sick; no fallback image: RuntimeError: no memory"


def test_a_slice_that_cannot_be_assembled_costs_no_other():
    came, error = images(tasks(6, broken=(0, 4)), Engine(), Settings())
    assert (came, error) == ([1, 2, 3, 5], "slice 0: unreadable")


def test_failures_are_collected_where_a_scan_goes_on():
    failures = []
    engine = Engine(sick=(1,), hopeless=(1,))
    came, error = images(tasks(3, broken=(2,)), engine, Settings(), failures=failures)
    assert came == [0] and error == "" and len(failures) == 2


def test_stop_means_the_first_failure():
    stop = Settings(on_failure="stop")
    assert images(tasks(3), Engine(sick=(1,)), stop) == ([0], "slice 1: sick")
    assert images(tasks(3, broken=(1,)), Engine(), stop) == ([], "unreadable")


def test_cancelled_ends_at_once():
    with pytest.raises(Cancelled):
        list(reconstruct(tasks(3), Engine(sick=(0,), error=Cancelled("gone")), Settings()))


def test_nothing_is_assembled_for_a_peer_that_has_disconnected():
    engine, checked = Engine(), []

    def check():
        checked.append(True)
        if len(checked) == 3:
            raise Cancelled("gone")

    with watched(check), pytest.raises(Cancelled, match="gone"):
        list(reconstruct(tasks(4), engine, Settings(), at_once=2))
    assert engine.batches == [[0, 1]]


@pytest.mark.parametrize("at_once", [1, 3])
def test_images_at_once(at_once):
    engine = Engine()
    assert images(tasks(6), engine, Settings(), at_once=at_once) == (list(range(6)), "")
    assert max(map(len, engine.batches)) == at_once


def test_noise_lines_that_are_too_loud_cost_no_image():
    """As in the Python API: the level is estimated, and a warning states both."""
    xml, lines = noisy_scan()
    settings, header = Settings(model="cg-sense+sinc"), parse_header(xml)
    engine = make_engine(settings)

    def made(source):
        slices = make_assembler(source, plan_source(header, source), settings)
        return list(reconstruct(file_tasks(slices), engine, settings))

    loud = made(with_noise_lines(lines, lambda noise, signal: 70 * noise))
    for image, good in zip(loud, made(lines), strict=True):
        assert not image.report.fallback
        assert "times that of the samples" in image.report.warnings[-1]
        assert image.report.noise_std == pytest.approx(good.report.noise_std, rel=0.15)
        difference = (image.magnitude - good.magnitude).norm() / good.magnitude.norm()
        assert float(difference) < 0.02


@pytest.mark.parametrize("on_failure", ["fallback", "stop"])
def test_a_noise_level_that_cannot_be_judged_is_a_failure_like_any_other(on_failure, monkeypatch):
    """The second of two slices becomes a fallback image, or ends the scan; the first is whole."""
    xml, lines = noisy_scan(n_slices=2)
    settings, header = Settings(model="cg-sense+sinc", on_failure=on_failure), parse_header(xml)
    engine = make_engine(settings)
    judged = stated_noise.excessive_noise_note

    def fails(data):
        if data.counters.slice == 1:
            raise torch.linalg.LinAlgError("linalg.eigh: failed to converge")
        return judged(data)

    monkeypatch.setattr(stated_noise, "excessive_noise_note", fails)
    slices = make_assembler(lines, plan_source(header, lines), settings)
    made = reconstruct(file_tasks(slices), engine, settings)
    assert not next(made).report.fallback
    if on_failure == "stop":
        with pytest.raises(UnsupportedScan, match=r"slice 1: .*failed to converge"):
            next(made)
    else:
        image = next(made)
        assert "linalg.eigh: failed to converge" in image.report.fallback
        assert bool(torch.isfinite(image.magnitude).all()) and bool(image.magnitude.any())
        recon = load_model("cg-sense+sinc", on_failure="fallback")
        assert recon(slices.assemble(image.counters)).report.fallback in image.report.fallback
