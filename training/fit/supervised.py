"""The supervised loop, read from top to bottom: one generator, losses against the truth.

    loss = g_pix mean |x - x_GT| + g_rec mean |x_rec - x_GT,LR| [+ perceptual, best-buddy, ...]

What a step needs around it (data, checkpoints, log) is in `run.py`.
"""

from collections.abc import Callable

import torch
from torch import nn

from training.config import RunConfig
from training.losses.objective import detail_terms, magnitudes, reconstruction_terms

from .parts import learns_reconstruction
from .run import Run
from .schedule import phase_at

LOSSES = ("gamma_pix", "gamma_rec", "gamma_per", "gamma_buddy", "gamma_back")


def _check_losses(run: Run) -> None:
    """Refuse a recipe that would come to a phase without any loss."""
    config, counted = run.config, set(LOSSES)
    if phase_at(config.steps - 1, config).name != "full":
        return
    if run.perceptual is None:
        counted.remove("gamma_per")
    if not learns_reconstruction(run.networks.model, config):
        counted.remove("gamma_rec")
    if not any(getattr(config, key) for key in counted):
        given = ", ".join(f"{key} {getattr(config, key):g}" for key in LOSSES)
        raise ValueError(f"{config.model} has no loss to train its last phase with: {given}")


def fit(config: RunConfig, tell: Callable[[dict], None] | None = None) -> nn.Module:
    """Train to the last step and return the averaged generator; `tell` hears every row of the log.

    Raises
    ------
    ValueError
        What the recipe, the data or a checkpoint have wrong, in one line.
    TrainingDiverged
        Gradients stayed without a finite value.
    """
    with Run(config, tell) as run:
        _check_losses(run)
        nets = run.networks
        for names, scan in run.batches():
            output, truth = run.predict(names, scan)
            with run.fabric.autocast():
                terms = reconstruction_terms(output, truth, config, run.phase.name)
                if run.phase.name == "full":
                    pair = magnitudes(output, truth)
                    terms |= detail_terms(pair, truth, config, run.perceptual, run.generator)
            loss = torch.stack(list(terms.values())).sum()
            finite = run.update(loss, nets.model, nets.optimizer)
            run.finish_step(terms, output, finite)
        return run.finish()
