"""Ctrl-C, SIGTERM, and two runs in one folder."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.processes import run_process
from tests.training.conftest import tiny
from training.runs import fit
from training.runs.checkpoint import read_checkpoint
from training.runs.run import Run

SIGNALLED = """
import os, signal, subprocess, sys, torch
from training import cli, commands
from training.config import RunConfig
from training.runs import fit
torch.set_num_threads(1)
config, number = RunConfig.model_validate_json(sys.argv[1]), int(sys.argv[2])
rank = int(os.environ.get("RANK", 0))
before = torch.optim.Adam.step
def step(self, *args, **kwargs):
    step.count += 1
    if step.count == 2 and rank == int(sys.argv[3]):
        if int(sys.argv[4]):  # By another process, as a scheduler does.
            subprocess.run(["kill", f"-{number}", "--", f"-{os.getpid()}"])
        else:
            os.kill(os.getpid(), number)
    return before(self, *args, **kwargs)
step.count = 0
torch.optim.Adam.step = step
commands.app = lambda *_, **options: fit(config)
if __name__ == "__main__":
    cli.main()
"""


def signalled(config, number, rank=0, launcher=(), whole_job=False):
    """Run a recipe that gets a signal within its second step, or all processes of its job do."""
    script = Path(f"{config.out}.py")
    script.write_text(SIGNALLED)
    call = [
        sys.executable,
        *launcher,
        str(script),
        config.model_dump_json(),
        str(number),
        str(rank),
        str(int(whole_job)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return run_process(call, env=environment, start_new_session=whole_job)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step_and_nothing_is_lost(scans, tmp_path, number):
    # The signal comes before the second step's update; minutes would pass to the next checkpoint.
    config = tiny(
        scans,
        tmp_path / "stopped",
        steps=4,
        log__checkpoint_minutes=60.0,
        fixed_point__warm_start=True,
    )
    done = signalled(config, int(number))
    assert done.returncode == 130
    told = [line for line in done.stderr.splitlines() if line.startswith("jrsr-train")]
    assert told == [
        "jrsr-train: saving after this step; a second signal ends it at once",
        "jrsr-train: interrupted",
    ]
    assert read_checkpoint(tmp_path / "stopped")[1].step == 2
    fit(config)
    fit(tiny(scans, tmp_path / "whole", steps=4, fixed_point__warm_start=True))
    stopped, whole = (read_checkpoint(tmp_path / name)[0] for name in ("stopped", "whole"))
    assert stopped.keys() == whole.keys()
    assert all(torch.equal(value, whole[key]) for key, value in stopped.items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_workers_as_well_loses_nothing(scans, tmp_path, number):
    config = tiny(
        scans, tmp_path / "run", steps=400, log__checkpoint_minutes=60.0, machine__workers=2
    )
    done = signalled(config, int(number), whole_job=True)
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines() == [
        "jrsr-train: saving after this step; a second signal ends it at once",
        "jrsr-train: interrupted",
    ]
    assert read_checkpoint(tmp_path / "run")[1].step == 2


@pytest.mark.slow
def test_a_signal_to_one_process_ends_them_all_after_one_step(scans, tmp_path):
    config = tiny(
        scans,
        tmp_path / "two",
        machine__devices=2,
        optimizer__batch=2,
        steps=4,
        log__checkpoint_minutes=60.0,
    )
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = signalled(config, int(signal.SIGTERM), rank=1, launcher=launcher)
    assert done.returncode != 0 and done.stderr.count("jrsr-train: interrupted") == 2, done.stderr
    assert read_checkpoint(tmp_path / "two")[1].step == 2


def test_handlers_are_given_back(scans, tmp_path):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with Run(tiny(scans, tmp_path)):
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_signal_does_not_wait(scans, tmp_path):
    with pytest.raises(KeyboardInterrupt), Run(tiny(scans, tmp_path)):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_folder_serves_one_run_at_a_time(scans, tmp_path):
    config = tiny(scans, tmp_path / "one", steps=1)
    with Run(config), pytest.raises(ValueError, match="one: another run is at work"):
        fit(config)
    fit(config)
    with pytest.raises(ValueError, match="run with model jrsr") as refused:
        fit(tiny(scans, tmp_path / "one", steps=1, model="recon"))
    fit(config)  # A refused run holds nothing, even while its traceback is kept.
    del refused
