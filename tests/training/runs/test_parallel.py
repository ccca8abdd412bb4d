"""Two processes on one batch compute what one process computes."""

import os
import sys

import pytest
import torch

from tests.helpers.processes import run_process
from tests.training.conftest import tiny
from training.runs import fit
from training.runs.checkpoint import part, read_checkpoint
from training.runs.log import read_log

WORKER = """
import sys, torch
torch.set_num_threads(1)
from training.config import RunConfig
from training.runs import fit
fit(RunConfig.model_validate_json(sys.argv[1]))
"""


@pytest.mark.slow
def test_two_processes_reproduce_the_gradients_of_one(scans, tmp_path):
    # After one step Adam's first moment is (1 - beta1) times the averaged, clipped gradient.
    changes = {"steps": 1, "optimizer__batch": 2, "loop": "adversarial", "loss__adv": 5e-3}
    changes |= {
        "loss__per": 1.0,
        "loss__perceptual__network": "gradient",
        "loss__discriminator__norm": "none",
    }
    # As many iterations for every scan: a batch stops with its slowest scan, and shares differ.
    changes |= {"fixed_point__max_iterations": 4, "fixed_point__residual_alarm": 1e-6}
    alone = tiny(scans, tmp_path / "one", **changes)
    fit(alone)
    together = tiny(scans, tmp_path / "two", machine__devices=2, **changes)
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = run_process(
        [*launcher, str(script), together.model_dump_json()],
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    alone_row, together_row = (read_log(tmp_path / n)[0] for n in ("one", "two"))
    for key in ("loss", "pix", "rec", "adv", "per", "residual", "iterations"):
        assert together_row[key] == pytest.approx(alone_row[key], rel=2e-3), key
    assert together_row["alarm"] == alone_row["alarm"]
    one, two = (read_checkpoint(tmp_path / n)[0] for n in ("one", "two"))
    for prefix in ("adam", "adam_d"):
        first, second = part(one, prefix), part(two, prefix)
        moments = [k for k in first if k.endswith("exp_avg")]
        assert moments
        for key in moments:
            scale = float(first[key].abs().max())
            assert torch.allclose(first[key], second[key], atol=2e-4 * scale + 1e-10), key
