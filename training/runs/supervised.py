"""The supervised loop, read from top to bottom: one generator, losses against the truth.

    loss = g_pix mean |x - x_GT| + g_rec mean |x_rec - x_GT,LR| [+ perceptual, best-buddy, ...]

What surrounds a step (data, checkpoints, log) is in `run.py`.
"""

from collections.abc import Callable

import torch
from torch import nn

from training.config import RunConfig
from training.errors import UsageError
from training.losses.objective import magnitudes, reconstruction_terms

from .budget import Stopwatch
from .log import Row
from .networks.generator import learns_reconstruction
from .run import Run
from .schedule import last_phase

LOSSES = ("pix", "rec", "per", "buddy", "back")


def _check_losses(run: Run) -> None:
    """Refuse a recipe whose last phase would have no loss."""
    config, counted = run.config, set(LOSSES)
    if last_phase(config) != "full":
        return
    if run.perceptual is None:
        counted.remove("per")
    if not learns_reconstruction(run.networks.model, config):
        counted.remove("rec")
    weights = {key: getattr(config.loss, key) for key in LOSSES}
    if not any(weights[key] for key in counted):
        given = ", ".join(f"loss.{key} {weight:g}" for key, weight in weights.items())
        raise UsageError(f"{config.model} has no loss to train its last phase with: {given}")


def fit(
    config: RunConfig,
    on_row: Callable[[Row], None] | None = None,
    watch: Stopwatch | None = None,
) -> nn.Module:
    """Train to the last step or the deadline and return the averaged generator.

    Parameters and errors as `runs.fit`.
    """
    with Run(config, on_row, watch) as run:
        _check_losses(run)
        with run.budget.watched():
            for names, scan in run.batches():
                with run.not_waiting():
                    output, truth = run.predict(names, scan)
                    with run.fabric.autocast():
                        terms = reconstruction_terms(output, truth, config.loss, run.phase.name)
                        if run.phase.name == "full":
                            pair = magnitudes(output, truth)
                            terms |= run.detail_terms(names, pair, truth)
                    loss = torch.stack(list(terms.values())).sum()
                    finite = run.update(loss, run.networks.generator)
                run.finish_step(terms, output, finite)
        return run.finish()
