"""Runs by `minutes`: whatever the throughput, schedule and training end at the deadline."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from jrsr_core.models import rec
from jrsr_core.weights.load import load_weights
from tests.helpers.processes import PATIENCE
from tests.training.conftest import changed, tiny
from training.evaluation.export import export
from training.runs import fit, run
from training.runs.budget import Budget, Stopwatch
from training.runs.checkpoint import read_checkpoint
from training.runs.log import read_log
from training.runs.networks.initial_weights import averaged_model
from training.runs.schedule import last_phase


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.t = 1000.0

    def __call__(self):
        return self.t


def drive(config, seconds_of, spent=0.0, start=0):
    """Walk through a run whose steps take `seconds_of(step)`; return budget, rates, phases."""
    clock = HandClock()
    budget = Budget(config, Stopwatch(clock).started(), spent)
    rates, phases, step = [], [], start
    while budget.allows_step(step):
        rates.append(budget.rate(step, budget.share))
        phases.append(budget.phase(step, budget.share).name)
        clock.t += seconds_of(step)
        budget.end_step()
        step += 1
    return budget, rates, phases


@pytest.mark.parametrize("schedule", ["cosine", "halving", "constant"])
@pytest.mark.parametrize("seconds", [0.04, 1.0, 7.0])
def test_the_rate_ends_at_zero_whatever_the_throughput(tmp_path, schedule, seconds):
    config = tiny(
        "d",
        tmp_path,
        minutes=8,
        optimizer__schedule=schedule,
        optimizer__warmup_steps=100,
        optimizer__learning_rate=1e-3,
    )
    budget, rates, _ = drive(config, lambda _: seconds)
    assert budget.total == 480 and budget.final == 30
    # No step is begun that would not be over in time, and less than one is left.
    assert budget.training - 2 * seconds <= budget.elapsed <= budget.training
    # The end of the rate is continuous: what a step changes it by shrinks with its length.
    assert rates[-1] <= 1e-3 * 30 * seconds / budget.training
    assert budget.rate(len(rates), 1.0) == 0
    peak = max(rates)
    assert 0.9e-3 < peak <= 1e-3
    # Warm-up by 100 steps where they are many, by a tenth of the time where they are few.
    n_warm = rates.index(peak)
    assert n_warm <= 100 and n_warm * seconds <= 0.1 * budget.training + seconds


def test_throughput_that_changes_on_the_way(tmp_path):
    config = tiny("d", tmp_path, minutes=10, optimizer__schedule="cosine")
    budget, rates, _ = drive(config, lambda step: 0.5 if step < 300 else 3.0)
    assert budget.training - 6 <= budget.elapsed <= budget.training
    assert rates == sorted(rates, reverse=True)
    half = 0.5 * config.optimizer.learning_rate
    assert rates[299] == pytest.approx(half * (1 + torch.cos(torch.tensor(149.5 / 570 * 3.14159))))
    assert rates[-1] < 1e-3 * config.optimizer.learning_rate


def test_time_already_spent_counts(tmp_path):
    config = tiny("d", tmp_path, minutes=5, optimizer__schedule="cosine")
    whole, rates, _ = drive(config, lambda _: 2.0)
    rest, later, _ = drive(config, lambda _: 2.0, spent=120.0, start=60)
    assert rest.elapsed == whole.elapsed
    assert later == pytest.approx(rates[60:])
    over, none, _ = drive(config, lambda _: 2.0, spent=400.0)
    assert none == [] and over.share == 1


@pytest.mark.parametrize(("minutes", "final"), [(8, 30), (5, 30), (3, 18), (0.5, 3)])
def test_the_last_part_is_kept_for_validation_and_export(tmp_path, minutes, final):
    budget = Budget(tiny("d", tmp_path, minutes=minutes), Stopwatch(HandClock()).started())
    assert budget.final == pytest.approx(final)
    budget.watch.now.t += 60 * minutes - 0.5 * final
    assert not budget.has_time(0) and budget.has_time_to_validate()
    budget.watch.now.t += 0.3 * final
    assert not budget.has_time_to_validate()


def test_phases_are_shares_of_the_time(tmp_path):
    config = tiny("d", tmp_path, model="modl+medsrgan", minutes=5, phases__recon=0.25)
    config = changed(config, phases__psnr=0.5, optimizer__schedule="cosine")
    _, rates, phases = drive(config, lambda _: 1.0)
    counts = [phases.count(name) for name in ("recon", "psnr", "full")]
    assert counts == pytest.approx([67.5, 101, 101], abs=1)
    # A new network begins at the full rate; the one before has come to its end.
    assert rates[counts[0]] > 0.99 * config.optimizer.learning_rate
    assert rates[counts[0] - 1] < 1e-3 * config.optimizer.learning_rate
    assert last_phase(config) == "full"


def test_a_start_from_other_weights_has_a_short_warm_up(tmp_path):
    cold = tiny("d", tmp_path, minutes=5)
    warm = changed(cold, start__init="weights.json")
    assert drive(cold, lambda _: 0.1)[1][0] == cold.optimizer.learning_rate
    rates = drive(warm, lambda _: 0.1)[1]
    assert rates[0] == pytest.approx(cold.optimizer.learning_rate / 20)
    assert max(rates[:40]) == rates[20]


def test_the_average_spans_a_twentieth_of_the_time(tmp_path):
    config = tiny("d", tmp_path, minutes=10, optimizer__ema=0.9999)
    for seconds, decay in ((0.57, 0.98019867), (5.7, 0.81873075)):
        budget, _, _ = drive(config, lambda _, seconds=seconds: seconds)
        assert budget.decay(1000) == pytest.approx(decay, rel=1e-6)
    assert budget.decay(0) == pytest.approx(0.1)


def with_steps_of(seconds, monkeypatch):
    """Let every step of a run take so many seconds of the returned clock."""
    clock, before = HandClock(), run.run_generator

    def timed(*args):
        clock.t += seconds
        return before(*args)

    monkeypatch.setattr(run, "run_generator", timed)
    return clock


def test_a_run_ends_at_its_deadline_validated_and_continues(scans, tmp_path, monkeypatch):
    config = tiny(scans, tmp_path / "a", minutes=1, log__validate_minutes=0.4)
    clock = with_steps_of(6.0, monkeypatch)
    fit(config, watch=Stopwatch(clock))
    # 54 s of training: the ninth step would end at 54, which is not before the end.
    state = read_checkpoint(tmp_path / "a")[1]
    assert (state.step, state.elapsed) == (8, 48.0)
    rows = read_log(tmp_path / "a")
    assert [r["step"] for r in rows if "val_psnr" in r] == [5, 8]
    card = json.loads(export(tmp_path / "a", tmp_path / "weights").read_text())
    assert card["metrics"]["validation"]["val_slices"] == 2
    rates = [r["rate"] for r in rows if "rate" in r]
    assert len(rates) == 8
    # With more minutes it continues at the time that was spent; then nothing is left to do.
    fit(changed(config, minutes=1.5), watch=Stopwatch(clock))
    assert read_checkpoint(tmp_path / "a")[1].elapsed == 78.0
    fit(changed(config, minutes=1.5), watch=Stopwatch(clock))
    assert read_checkpoint(tmp_path / "a")[1].step == 13


def test_a_step_that_takes_too_long_is_left_out(scans, tmp_path, monkeypatch):
    config = tiny(scans, tmp_path / "a", model="jrsr-dc", minutes=1)
    clock = with_steps_of(10.0, monkeypatch)
    before = rec.RecModule.step

    def slow(self, *args):
        if clock.t >= 1030:
            clock.t += 5.0  # The machine has become slow: one iteration of the fixed point.
        return before(self, *args)

    monkeypatch.setattr(rec.RecModule, "step", slow)
    fit(config, watch=Stopwatch(clock))
    state = read_checkpoint(tmp_path / "a")[1]
    # It ends within one iteration of the end of the training, without the step.
    assert 54 < state.elapsed <= 59.0 and state.step == 2
    averaged_model(tmp_path / "a")


def test_minutes_take_the_place_of_steps(scans, tmp_path, monkeypatch):
    clock = with_steps_of(10.0, monkeypatch)
    fit(tiny(scans, tmp_path / "few", minutes=1, steps=2), watch=Stopwatch(clock))
    assert read_checkpoint(tmp_path / "few")[1].step == 5
    with pytest.raises(ValueError, match="steps is 0, give steps=NUMBER or minutes=NUMBER"):
        tiny(scans, tmp_path, steps=0)


def command(tmp_path, scans, *changes):
    """Start `jrsr-train fit ... --export` by time."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"model: jrsr-dc\npreset: tiny\ndata: {scans}\nout: {tmp_path / 'run'}\ndevice: cpu\n"
        "optimizer: {batch: 2, schedule: cosine}\nlog: {every: 1, tensorboard: false}\n"
        "machine: {n_threads: 1}\n"
    )
    call = [sys.executable, "-m", "training", "fit", str(recipe), *changes]
    call += ["--export", str(tmp_path / "weights")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    return subprocess.Popen(call, stdout=pipe, stderr=pipe, text=True, env=environment)


def test_the_command_ends_by_its_deadline_with_weights(scans, tmp_path):
    began = time.monotonic()
    done = command(tmp_path, scans, "minutes=0.5")
    out, err = done.communicate(timeout=PATIENCE)
    assert done.returncode == 0, err
    assert time.monotonic() - began > 25  # It used its time.
    assert out.splitlines()[-1].endswith("s before the deadline")
    card = json.loads((tmp_path / "weights" / "jrsr-dc_tiny.json").read_text())
    assert card["training"]["minutes"] == 0.5
    load_weights(tmp_path / "weights" / "jrsr-dc_tiny.json")


def test_sigterm_ends_with_weights(scans, tmp_path):
    run_ = command(tmp_path, scans, "minutes=20")
    for line in run_.stdout:
        if line.startswith("step 2,"):
            run_.send_signal(signal.SIGTERM)
            break
    out, err = run_.communicate(timeout=PATIENCE)
    assert run_.returncode == 130, err
    assert out.splitlines()[-1] == str(tmp_path / "weights" / "jrsr-dc_tiny.json")
    _, card = load_weights(tmp_path / "weights" / "jrsr-dc_tiny.json")
    assert card.training["steps_done"] == read_checkpoint(tmp_path / "run")[1].step >= 2
