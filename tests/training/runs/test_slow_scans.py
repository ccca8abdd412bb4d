"""A run that waits for its scans: the deadline and signals end it there as well."""

import os
import signal
import threading

import pytest

from jrsr_core.common.cancellation import Cancelled, checkpoint, watched
from tests.training.conftest import tiny
from tests.training.test_cli import run  # noqa: F401
from training import runs
from training.data import acquire
from training.data.loading import batches, fresh
from training.data.loading.batches import ScanFolder, open_data
from training.data.loading.fresh import FreshScans
from training.evaluation.export import export
from training.runs import fit
from training.runs.budget import Stopwatch
from training.runs.checkpoint import read_checkpoint
from training.runs.log import read_log
from training.runs.networks.initial_weights import averaged_model
from training.runs.process import Stopped
from training.runs.run import Run


class Clock:
    """A clock that moves whenever it is read, by a second; it calls something at a reading."""

    def __init__(self, at=None, call=None, pace=1.0):
        self.t, self.at, self.call, self.pace = 0.0, at, call, pace

    def __call__(self):
        self.t += self.pace
        if self.t == self.at:
            self.call()
        return self.t


class EndlessFresh(FreshScans):
    """Fresh scans of which none is ever complete."""

    def __iter__(self):
        threading.Event().wait()
        yield


class EndlessFolder(ScanFolder):
    """Scans that are never there."""

    def __getitem__(self, index):
        threading.Event().wait()


def never(*_):
    """Stand for a scan that is never complete, made in the training process."""
    while True:
        checkpoint()


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(params=["fresh, 0", "fresh, 1", "prepared, 0", "prepared, 1"])
def slow(request, images, scans, tmp_path, monkeypatch):
    """A run by minutes whose scans never come; of both kinds, without and with a worker."""
    kind, workers = request.param.split(", ")
    monkeypatch.setattr(fresh, "make_scan", never)
    monkeypatch.setattr(batches, "get_scan", never)
    if workers != "0":
        monkeypatch.setattr(fresh, "FreshScans", EndlessFresh)
        monkeypatch.setattr(batches, "ScanFolder", EndlessFolder)
    data, vary = (images, True) if kind == "fresh" else (scans, False)
    changes = {"minutes": 2, "scans__vary": vary, "machine__workers": int(workers)}
    return tiny(data, tmp_path / "run", **changes)


def test_the_deadline_ends_a_wait_and_no_step_is_a_failure(slow, tmp_path):
    clock = Clock()
    with pytest.raises(ValueError, match=r"run: no step was over before the deadline, minutes is "):
        fit(slow, watch=Stopwatch(clock))
    assert 108 < clock.t < 120
    # Without a step there is nothing to continue, and no time counts as spent.
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_a_signal_ends_a_wait(slow, tmp_path):
    clock = Clock(60, terminate)
    with pytest.raises(Stopped) as stopped:
        fit(slow, watch=Stopwatch(clock))
    assert stopped.value.steps == 0 and 60 <= clock.t < 70
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def with_scans_that_stop(monkeypatch, n, instead):
    """Let the scan after the first `n` ones call a function, and be ended by its checkpoint."""
    before, count = batches.get_scan, iter(range(100))

    def get_scan(*arguments):
        if next(count) == n:
            instead()
            never()
        return before(*arguments)

    monkeypatch.setattr(batches, "get_scan", get_scan)


def test_the_steps_before_a_signal_are_saved_and_exported(scans, tmp_path, monkeypatch):
    with_scans_that_stop(monkeypatch, 4, terminate)
    with pytest.raises(Stopped) as stopped:
        fit(tiny(scans, tmp_path / "run", steps=40))
    assert stopped.value.steps == read_checkpoint(tmp_path / "run")[1].step == 2
    assert [row["step"] for row in read_log(tmp_path / "run")] == [1, 2]
    export(tmp_path / "run", tmp_path / "weights")


def test_the_steps_before_the_deadline_are_validated_and_kept(scans, tmp_path, monkeypatch):
    clock = Clock(pace=0.0)

    def late():
        clock.t = 545.0

    with_scans_that_stop(monkeypatch, 4, late)
    config = tiny(scans, tmp_path / "run", minutes=10, log__final_minutes=1.0)
    fit(config, watch=Stopwatch(clock))
    assert read_checkpoint(tmp_path / "run")[1].step == 2 and clock.t < 600
    assert read_log(tmp_path / "run")[-1]["val_slices"] == 2
    averaged_model(tmp_path / "run")


def test_a_scan_in_the_making_is_given_up(images, tmp_path, monkeypatch):
    _, manifest = open_data(tiny(images, tmp_path, scans__vary=True))
    entry, acquired, before = manifest.split("train")[0], [], acquire._acquire

    def acquire_(*arguments):
        acquired.append(before(*arguments))
        return acquired[-1]

    def check():
        if acquired:
            raise Cancelled

    monkeypatch.setattr(acquire, "_acquire", acquire_)
    monkeypatch.setattr(acquire, "calibrate_scan", lambda *_: pytest.fail("was calibrated"))
    with watched(check), pytest.raises(Cancelled):
        acquire.make_scan(manifest, entry)
    assert len(acquired) == 1


def test_untrained_weights_are_not_exported(run, scans, tmp_path, monkeypatch):  # noqa: F811
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"model: jrsr\npreset: tiny\ndata: {scans}\nout: {tmp_path / 'run'}\nsteps: 1\n"
        "device: cpu\noptimizer: {batch: 2}\nlog: {tensorboard: false}\n"
    )
    command = ("fit", recipe, "--export", tmp_path / "weights")
    # The minutes count from the start of the command: here of the process of this test.
    code, out, err = run(*command, "minutes=0.001")
    assert (code, out, err.count("\n")) == (1, "", 1) and "no step was over" in err, err

    def signalled(steps):
        def fit(*_):
            raise Stopped(steps)

        monkeypatch.setattr(runs, "fit", fit)
        return run(*command)

    assert signalled(0) == (130, "", "jrsr-train: interrupted\n")
    assert not (tmp_path / "weights").exists()
    # A checkpoint of an older version.
    with Run(tiny(scans, tmp_path / "run", steps=1)) as untrained:
        untrained.save()
    with pytest.raises(ValueError, match="run: no step was done, so there are no trained weights"):
        export(tmp_path / "run", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
