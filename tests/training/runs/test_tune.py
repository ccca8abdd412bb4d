"""Tuning CG-SENSE: the grid is complete, sorted, and regularisation matters."""

import h5py
import numpy as np
import torch

from jrsr_core.simulation.phantoms import brain_phantom
from training.runs.tune import ITERATIONS, LAMBDAS, tune_cg_sense


def test_grid_is_complete_and_best_first(tmp_path):
    phantom = (255 * brain_phantom((136, 144))).to(torch.uint8).numpy().T
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        file["slices"] = np.stack([phantom])
    rows = tune_cg_sense(path, "brain-5x", None)
    assert len(rows) == len(LAMBDAS) * len(ITERATIONS)
    scores = [row["bicubic"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1] + 0.1
